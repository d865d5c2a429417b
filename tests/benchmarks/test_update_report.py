"""Figures of the learner's benchmark by hand, its workload, its padded path and its memory."""

import dataclasses
import os
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.tools.memory import peak_bytes, reset_peak
from benchmarks.tools.run_learner import pad
from benchmarks.tools.timed_update import timed_update
from benchmarks.tools.update_report import Comparison, Growth, Update, check_agreement, figures, mfu
from benchmarks.tools.update_workload import SMOLLM2, STARTER, count_tokens, make_batch, untrained_smollm2
from learner.packing import pack
from learner.policy import Policy
from learner.segment_attention import SEGMENT_ATTENTION
from tests.tiny_learner import sequences_of, tiny_model

MEGABYTE = 2**20


def update(wall_s=2.0, cpu_s=4.0, peak=100, **changes):
    values: dict[str, Any] = {
        "loss": -0.5,
        "grad_norm": 2.0,
        "gemm_per_s": 6000.0,
        "gemm_per_cpu_s": 3000.0,
        "torch": "2",
    }
    return Update(**(values | {"wall_s": wall_s, "cpu_s": cpu_s, "peak": peak} | changes))


def comparison(shape="SmolLM2-135M", checkpointing=False, **sides):
    """1,000 parameters and 1 token, so 6,000 FLOP an update."""
    updates = {"ours": [update()] * 3, "TRL": [update(6.0, 8.0, 400), update(4.0, 8.0, 200), update(10.0, 8.0, 200)]}
    return Comparison(shape=shape, checkpointing=checkpointing, parameters=1000, tokens=1, updates=updates | sides)


def test_figures_by_hand():
    found = figures(
        [comparison(), comparison("starter policy", **{"ours, padded": [update(3.0, 4.0, 150)] * 3})],
        [Growth(10, [update(cpu_s=1.0)]), Growth(20, [update(cpu_s=3.0)])],
    )
    assert found["ratio_tokens_per_s_vs_trl"] == 3.0
    assert found["ratio_tokens_per_s_vs_trl_cpu"] == 2.0
    assert found["ratio_peak_memory_vs_trl"] == 0.5
    assert found["mfu"] == pytest.approx(6000 / 2 / 6000)
    assert found["mfu_cpu_starter"] == pytest.approx(6000 / 4 / 3000)
    assert found["ratio_tokens_per_s_vs_padded_starter"] == 1.5
    assert found["ratio_peak_memory_vs_padded_starter"] == pytest.approx(2 / 3)
    assert found["gemm_gflops"] == pytest.approx(6e-6)
    assert found["cpu_per_token_growth"] == pytest.approx(1.5)


def test_settings_have_keys_of_their_own():
    found = figures([comparison(checkpointing=True)], [Growth(1, [update()])])
    assert "mfu_checkpointing" in found
    assert "mfu" not in found


def test_mfu_of_each_side():
    assert mfu(comparison(), "TRL") == pytest.approx([1 / 6, 1 / 4, 1 / 10])


@pytest.mark.parametrize("change", [{"loss": -0.52}, {"grad_norm": 2.01}, {"torch": "3"}])
def test_sides_that_did_other_work_give_no_result(change):
    check_agreement(comparison())
    other = comparison(TRL=[update(), update(**change), update()])
    with pytest.raises(ValueError, match="TRL did other work"):
        check_agreement(other)


@pytest.mark.parametrize("shape", [SMOLLM2, STARTER])
def test_responses_vary_one_to_eight(shape):
    batch = make_batch(shape, 100)
    lengths = np.sort([len(one["response"]) for one in batch])
    assert len(batch) == shape.sequences
    assert shape.shortest <= lengths[0] < lengths[-1] <= 8 * shape.shortest
    assert lengths[-1] / lengths[0] > 5
    steps = np.diff(np.log(lengths))  # log-uniform: equal steps
    assert steps.std() < 0.1 * steps.mean() + 0.01
    assert batch == make_batch(shape, 100)
    assert count_tokens(make_batch(shape, 100, 2)) == pytest.approx(2 * count_tokens(batch), rel=0.02)


def test_the_135m_shape_has_its_parameters():
    with torch.device("meta"):
        assert untrained_smollm2().num_parameters() == 134_515_008


def test_the_padded_path_computes_the_same(tmp_path):
    from transformers import AutoModelForCausalLM

    policy = Policy(
        AutoModelForCausalLM.from_pretrained(
            tiny_model(tmp_path), dtype=torch.float32, attn_implementation=SEGMENT_ATTENTION
        )
    )
    sequences = sequences_of([1.0] * 5)
    order = [3, 0, 4, 1, 2]
    cpu = torch.device("cpu")
    padded = pad(sequences, order, cpu)
    packed = pack(sequences, order, cpu)
    width = max(len(one.token_ids) for one in sequences)
    assert padded.input_ids.shape == (5 * width,)
    assert padded.lengths == (width,) * 5
    with torch.no_grad():
        torch.testing.assert_close(policy(padded), policy(packed), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no /proc/self/clear_refs")
def test_the_peak_is_what_was_held_and_let_go_again():
    held = np.ones(40 * MEGABYTE, dtype=np.uint8)  # before: does not count
    before = reset_peak()
    freed = np.ones(100 * MEGABYTE, dtype=np.uint8)
    del freed
    assert 95 * MEGABYTE < peak_bytes() - before < 130 * MEGABYTE
    assert held[-1] == 1
    assert peak_bytes() - reset_peak() > 90 * MEGABYTE  # reset now


def test_a_timed_update_subtracts_the_gradients(monkeypatch):
    monkeypatch.setattr("benchmarks.tools.timed_update.SIZE", 64)

    def work():
        np.ones(100 * MEGABYTE, dtype=np.uint8)
        return 0.25, 1.5

    found = Update(**timed_update(work, 60 * MEGABYTE))
    assert 35 * MEGABYTE < found.peak < 70 * MEGABYTE
    assert (found.loss, found.grad_norm) == (0.25, 1.5)
    assert found.wall_s > 0
    assert dataclasses.asdict(found)["gemm_per_s"] > 0
