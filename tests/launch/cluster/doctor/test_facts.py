"""Facts about this machine, with fakes in place of its GPUs."""

import pytest
import torch

from launch.cluster.doctor.facts import Examination, collect_facts, find_versions
from launch.cluster.doctor.gpus import SIZE, GpuFacts, TorchGpus, find_product_error

GPU = GpuFacts(name="fake", total_gib=80.0, free_gib=79.0, error="")
DRIVER = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22)
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""


class FakeGpus:
    def cuda_version(self):
        return "13.0"

    def driver_version(self):
        return "580.65.06"

    def find_gpus(self):
        return [GPU]


@pytest.mark.heavy
def test_facts_about_this_machine(tmp_path):
    (tmp_path / "config.json").touch()
    facts = collect_facts(Examination(model=tmp_path, probe=None, with_sandbox=True), FakeGpus())
    assert (facts.cuda, facts.driver, facts.gpus) == ("13.0", "580.65.06", (GPU,))
    assert facts.path_errors == () and facts.missing_fences is not None
    assert facts.free_gib > 0 and facts.shared_memory_gib > 0
    assert facts.packages["torch"] == torch.__version__


def test_absent_model_is_a_path_error(tmp_path):
    facts = collect_facts(Examination(model=tmp_path / "absent", probe=None, with_sandbox=False), FakeGpus())
    assert len(facts.path_errors) == 1 and "does not see the model" in facts.path_errors[0]
    assert facts.missing_fences is None and facts.sandbox_error == ""


def test_versions_name_only_what_is_installed():
    assert {"torch", "ray", "transformers"} <= find_versions().keys()
    assert "flash-attn" not in find_versions() or torch.cuda.is_available()


def test_version_of_the_driver_is_read_from_its_file(tmp_path):
    path = tmp_path / "version"
    assert TorchGpus(path).driver_version() is None
    path.write_text(DRIVER)
    assert TorchGpus(path).driver_version() == "580.65.06"
    path.write_text("something else")
    assert TorchGpus(path).driver_version() == "unknown"


def test_product_of_a_sound_device_is_right(monkeypatch):
    assert find_product_error(torch.device("cpu")) == ""
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: torch.zeros_like(left))
    assert find_product_error(torch.device("cpu")) == f"{SIZE**2} of {SIZE**2} entries of a matrix product are wrong"


@pytest.mark.gpu
def test_gpus_of_this_machine_compute(cuda):
    assert [gpu.error for gpu in TorchGpus().find_gpus()] == [""] * torch.cuda.device_count()
