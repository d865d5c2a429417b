"""Texts that libraries print for known failures, each with the key or package that its sentence must name."""

import pytest

from actors.failure_causes import KNOWN_CAUSES, find_cause

# From the sources of torch 2.13, vLLM 0.32, Triton and Ray 2.60.
RECORDED = [
    (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please update",
        "580",
    ),
    ("RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version", "580"),
    ("RuntimeError: No CUDA GPUs are available", "generator.device=cpu"),
    ("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", "nvidia-smi"),
    ("AssertionError: Torch not compiled with CUDA enabled", "make venv-gpu"),
    ("torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable", "another process"),
    (
        "ValueError: Free memory on device cuda:0 (10.0/79.1 GiB) on startup is less than desired GPU memory "
        "utilization (0.85, 67.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "generator.gpu_memory_fraction",
    ),
    ("/tmp/tmpab/main.c:5:10: fatal error: Python.h: No such file or directory", "python3.11-dev"),
    ("RuntimeError: Failed to find C compiler. Please specify via CC environment variable", "install gcc"),
    ("RuntimeError: unable to open shared memory object </torch_1_2> in read-write mode: No space left", "--shm-size"),
    ("Fatal Python error: Bus error", "--shm-size"),
    (
        "ValueError: To serve at least one request with the model's max seq len (40960), (5.6 GiB KV cache is needed",
        "generator.max_response_tokens",
    ),
    ("ValueError: No available memory for the cache blocks. Try increasing", "generator.kv_cache_gib"),
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of",
        "learner.micro_batch_tokens",
    ),
    ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.", "evaluator.workers"),
    ("ncclUnhandledCudaError: NCCL error in: ProcessGroupNCCL.cpp, unhandled system error (run with", "launch.doctor"),
]


@pytest.mark.parametrize(("text", "named"), RECORDED)
def test_recorded_failure_has_a_sentence_that_names_what_to_change(text, named):
    cause = find_cause(f"INFO starting\n{text}\nand more")
    assert cause is not None and named in cause


def test_every_cause_has_a_recorded_text():
    assert {find_cause(text) for text, _ in RECORDED} == {cause.sentence for cause in KNOWN_CAUSES}


def test_engine_that_finds_its_gpu_taken_is_not_reported_as_too_large():
    text = "ValueError: Free memory on device is less than desired GPU memory utilization\nCUDA out of memory"
    cause = find_cause(text)
    assert cause is not None and "another process" in cause


def test_other_text_has_no_cause():
    assert find_cause("KeyError: 'lm_head.weight'") is None
