"""Fixtures of the scoring command's tests: a fake evaluator and the files of a run."""

import pytest

from evaluator.score import __main__ as score
from tests.evaluator.score.fakes import FakeEvaluator, RunFiles


@pytest.fixture
def fake_evaluator(monkeypatch):
    """Class that replaces ``Evaluator`` in the scoring command."""
    monkeypatch.setattr(score, "Evaluator", FakeEvaluator)
    monkeypatch.setattr(FakeEvaluator, "instances", [], raising=False)
    return FakeEvaluator


@pytest.fixture
def files(tmp_path):
    """Paths of a run's files, which do not exist yet."""
    return RunFiles(tmp_path)
