"""Most tests put a fake evaluator in the real one's place."""

import pytest

from evaluator.score import __main__ as score
from tests.evaluator.score.run_files import Files, Judge


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setattr(score, "Evaluator", Judge)
    monkeypatch.setattr(Judge, "made", [], raising=False)
    return Judge


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)
