"""What every command that a person starts has in common: how failures are told, and the status it ends with."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from actors.generators.pool import GenerationFailed
from actors.lifecycle import NoMemberLeft
from actors.waiting import DeadlineExceeded
from actors.weights.transfer import WeightTransferError
from conf.schema import ConfigError
from evaluator.problem import ProblemError
from launch.cluster.placement import PlacementError
from launch.evaluation.answers import AnswerLogError
from launch.evaluation.endpoint import EndpointError
from launch.models.resolve import ModelError
from launch.problems.datasets import DatasetError
from launch.records.run_directory import RunDirectoryError
from launch.training.calibration import CalibrationError
from learner.checkpoint import CheckpointError
from learner.credit import EmptyBatch
from learner.optimizer import NonFiniteGradient

REFUSALS = (
    ConfigError,
    DatasetError,
    ProblemError,
    ModelError,
    PlacementError,
    RunDirectoryError,
    CheckpointError,
    AnswerLogError,
    EndpointError,
)
# What actors raise with a message for a person; of everything else the traceback is shown.
TOLD_BY_ACTORS = (CheckpointError, NonFiniteGradient)
FAILURES = (
    DeadlineExceeded,
    GenerationFailed,
    NoMemberLeft,
    WeightTransferError,
    EmptyBatch,
    CalibrationError,
    RayError,
    OSError,
)


@contextlib.contextmanager
def failures_told(console: Console) -> Iterator[None]:
    """Ends the process with 2 for what can be put right before starting, 1 for a failure under way, 130 on request."""
    try:
        yield
    except RayTaskError as error:  # first: it is an instance of its cause's class, too
        told = isinstance(error.cause, TOLD_BY_ACTORS)
        tell(console, f"stopped: {error.cause if told else error}", "red")
        sys.exit(1)
    except REFUSALS as error:
        tell(console, f"error: {error}", "red")
        sys.exit(2)
    except FAILURES as error:
        tell(console, f"stopped: {error}", "red")
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell(console, "stopped on request; what is written is usable, run.resume=true goes on", "yellow")
        sys.exit(130)


def tell(console: Console, text: str, style: str | None = None) -> None:
    """Print ``text`` as it is: brackets in it are no markup, numbers get no colours."""
    console.print(text, style=style, highlight=False, markup=False)
