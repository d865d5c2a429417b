"""Metrics of the learner benchmark against hand-computed values; its workload, padding and memory measurement."""

import dataclasses
import os
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.tools.memory import read_peak_bytes, trim_and_reset_peak
from benchmarks.tools.run_learner import pad
from benchmarks.tools.update_measurement import measure_update
from benchmarks.tools.update_report import (
    ScalingMeasurement,
    UpdateComparison,
    UpdateMeasurement,
    check_agreement,
    compute_mfu,
    compute_summary,
)
from benchmarks.tools.update_workload import SMOLLM2, STARTER, build_smollm2, count_tokens, make_batch
from learner.packing import pack
from learner.policy import Policy
from learner.segment_attention import SEGMENT_ATTENTION
from tests.tiny_learner import make_sequences, save_tiny_model

MEGABYTE = 2**20


def make_update(wall_s=2.0, cpu_s=4.0, peak=100, **changes):
    values: dict[str, Any] = {
        "loss": -0.5,
        "grad_norm": 2.0,
        "gemm_per_s": 6000.0,
        "gemm_per_cpu_s": 3000.0,
        "torch": "2",
    }
    return UpdateMeasurement(**(values | {"wall_s": wall_s, "cpu_s": cpu_s, "peak": peak} | changes))


def make_comparison(shape="SmolLM2-135M", checkpointing=False, **implementations):
    """Make a comparison of 1,000 parameters and 1 token, which are 6,000 FLOP per update."""
    updates = {
        "ours": [make_update()] * 3,
        "TRL": [make_update(6.0, 8.0, 400), make_update(4.0, 8.0, 200), make_update(10.0, 8.0, 200)],
    }
    return UpdateComparison(
        shape=shape, checkpointing=checkpointing, parameters=1000, tokens=1, updates=updates | implementations
    )


def test_compute_summary():
    summary = compute_summary(
        [make_comparison(), make_comparison("starter policy", **{"ours, padded": [make_update(3.0, 4.0, 150)] * 3})],
        [ScalingMeasurement(10, [make_update(cpu_s=1.0)]), ScalingMeasurement(20, [make_update(cpu_s=3.0)])],
    )
    assert summary["ratio_tokens_per_s_vs_trl"] == 3.0
    assert summary["ratio_tokens_per_s_vs_trl_cpu"] == 2.0
    assert summary["ratio_peak_memory_vs_trl"] == 0.5
    assert summary["mfu"] == pytest.approx(6000 / 2 / 6000)
    assert summary["mfu_cpu_starter"] == pytest.approx(6000 / 4 / 3000)
    assert summary["ratio_tokens_per_s_vs_padded_starter"] == 1.5
    assert summary["ratio_peak_memory_vs_padded_starter"] == pytest.approx(2 / 3)
    assert summary["gemm_gflops"] == pytest.approx(6e-6)
    assert summary["cpu_per_token_growth"] == pytest.approx(1.5)


def test_compute_summary_has_separate_keys_for_checkpointing():
    summary = compute_summary([make_comparison(checkpointing=True)], [ScalingMeasurement(1, [make_update()])])
    assert "mfu_checkpointing" in summary
    assert "mfu" not in summary


def test_compute_mfu_of_another_implementation():
    assert compute_mfu(make_comparison(), "TRL") == pytest.approx([1 / 6, 1 / 4, 1 / 10])


@pytest.mark.parametrize("change", [{"loss": -0.52}, {"grad_norm": 2.01}, {"torch": "3"}])
def test_check_agreement_rejects_different_work(change):
    check_agreement(make_comparison())
    different = make_comparison(TRL=[make_update(), make_update(**change), make_update()])
    with pytest.raises(ValueError, match="TRL and ours differ"):
        check_agreement(different)


@pytest.mark.parametrize("shape", [SMOLLM2, STARTER])
def test_make_batch_draws_log_uniform_response_lengths(shape):
    batch = make_batch(shape, 100)
    lengths = np.sort([len(row["response"]) for row in batch])
    assert len(batch) == shape.sequences
    assert shape.min_response_tokens <= lengths[0] < lengths[-1] <= 8 * shape.min_response_tokens
    assert lengths[-1] / lengths[0] > 5
    steps = np.diff(np.log(lengths))  # log-uniform: equal steps
    assert steps.std() < 0.1 * steps.mean() + 0.01
    assert batch == make_batch(shape, 100)
    assert count_tokens(make_batch(shape, 100, 2)) == pytest.approx(2 * count_tokens(batch), rel=0.02)


def test_build_smollm2_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert build_smollm2().num_parameters() == 134_515_008


def test_pad_gives_the_same_results_as_pack(tmp_path):
    from transformers import AutoModelForCausalLM

    policy = Policy(
        AutoModelForCausalLM.from_pretrained(
            save_tiny_model(tmp_path), dtype=torch.float32, attn_implementation=SEGMENT_ATTENTION
        )
    )
    sequences = make_sequences([1.0] * 5)
    order = [3, 0, 4, 1, 2]
    cpu = torch.device("cpu")
    padded = pad(sequences, order, cpu)
    packed = pack(sequences, order, cpu)
    width = max(len(sequence.token_ids) for sequence in sequences)
    assert padded.input_ids.shape == (5 * width,)
    assert padded.lengths == (width,) * 5
    with torch.no_grad():
        torch.testing.assert_close(policy(padded), policy(packed), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no /proc/self/clear_refs")
def test_peak_memory_includes_freed_memory_until_reset():
    allocated_before = np.ones(40 * MEGABYTE, dtype=np.uint8)  # not part of the increase
    before = trim_and_reset_peak()
    freed = np.ones(100 * MEGABYTE, dtype=np.uint8)
    del freed
    assert 95 * MEGABYTE < read_peak_bytes() - before < 130 * MEGABYTE
    assert allocated_before[-1] == 1
    assert read_peak_bytes() - trim_and_reset_peak() > 90 * MEGABYTE  # the old peak, before it is reset


def test_measure_update_subtracts_the_gradients(monkeypatch):
    monkeypatch.setattr("benchmarks.tools.update_measurement.SIZE", 64)

    def update():
        np.ones(100 * MEGABYTE, dtype=np.uint8)
        return 0.25, 1.5

    measurement = UpdateMeasurement(**measure_update(update, 60 * MEGABYTE))
    assert 35 * MEGABYTE < measurement.peak < 70 * MEGABYTE
    assert (measurement.loss, measurement.grad_norm) == (0.25, 1.5)
    assert measurement.wall_s > 0
    assert dataclasses.asdict(measurement)["gemm_per_s"] > 0
