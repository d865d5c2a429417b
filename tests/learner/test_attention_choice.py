"""The learner's attention: the first kernel that works on the device, or an error that says why not."""

import pytest
import torch

from learner import attention_choice as module
from learner.attention_choice import AttentionUnavailable, choose_attention, find_error, find_obstacle

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("attention", "broken", "expected"),
    [
        ("auto", [], "flash_attention_2"),
        ("auto", ["flash_attention_2"], "varlen"),
        ("auto", ["flash_attention_2", "varlen"], "segments"),
        ("varlen", ["flash_attention_2"], "varlen"),
        ("sdpa", [], "segments"),
    ],
)
def test_auto_is_the_first_kernel_that_works(monkeypatch, attention, broken, expected):
    works = dict.fromkeys(module.KERNELS.values(), "")
    obstacles = works | {module.KERNELS[name]: "ImportError: no module" for name in broken}
    monkeypatch.setattr(module, "find_obstacle", lambda run, device, dtype: obstacles[run])
    assert choose_attention(attention, CUDA, torch.bfloat16) == expected


@pytest.mark.parametrize("attention", ["flash_attention_2", "varlen"])
def test_kernel_that_does_not_work_is_an_error_with_its_reason(attention):
    with pytest.raises(
        AttentionUnavailable, match=rf"model\.attention={attention}: it needs a GPU.*model\.attention=auto"
    ):
        choose_attention(attention, CPU)


def test_cpu_uses_sdpa_per_sequence():
    assert choose_attention("auto", CPU) == "segments"


def test_kernels_of_16_bits_are_not_used_in_float32():
    for run in module.KERNELS.values():
        assert "model.dtype is float32" in find_obstacle(run, CUDA, torch.float32)


def test_error_of_a_broken_build_is_found():
    def fail(states, bounds):
        raise OSError("undefined symbol: _ZN3c10\nmore")

    assert find_error(fail, CPU, torch.float32) == "OSError: undefined symbol: _ZN3c10"
    assert find_error(lambda states, bounds: states.detach() * 2, CPU, torch.float32).startswith("RuntimeError: ")
    assert find_error(lambda states, bounds: states * 2, CPU, torch.float32) == ""


@pytest.mark.gpu
def test_varlen_works_on_this_gpu(cuda):
    assert choose_attention("varlen", cuda, torch.bfloat16) == "varlen"
    assert choose_attention("auto", cuda, torch.float32) == "segments"
