"""What can be tested of the weight transfer without a learner or an engine; the rest is an integration test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors import weight_transfer
from actors.weight_transfer import PREFIX, SharedMemoryTransfer


def test_folders_of_killed_drivers_are_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_transfer, "SHARED_MEMORY", tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"{PREFIX}{dead.pid}-abc"
    in_use = tmp_path / f"{PREFIX}{os.getppid()}-def"
    for folder in (left, in_use):
        folder.mkdir()
    transfer = SharedMemoryTransfer([], [], "float32", 1.0)
    assert not left.exists()
    assert in_use.exists()
    assert transfer.folder.exists()
    transfer.close()
    assert not transfer.folder.exists()
