"""Errors raised in Ray actors are reported by a command as one sentence, or with a traceback if they are bugs."""

import io
from typing import Any

import pytest
import ray
from rich.console import Console

from launch.cluster.ray_cluster import unwrap_ray_errors
from launch.command import report_failures
from learner.batch_checks import BadBatch
from learner.segment_attention import UnsupportedAttention
from tests.integration.fake_actors import RaisingActor

pytestmark = pytest.mark.integration


def start_actor() -> Any:
    return ray.remote(RaisingActor).options(num_cpus=0).remote()


def run_command_awaiting(reference):
    """Await ``reference`` as a command does; return the exit status and the printed output."""
    output = io.StringIO()
    console = Console(file=output, width=400)
    with pytest.raises(SystemExit) as exited, report_failures(console), unwrap_ray_errors():
        ray.get(reference, timeout=300)
    return exited.value.code, output.getvalue()


@pytest.fixture(scope="module")
def raising_actor(cluster):
    actor = start_actor()
    yield actor
    ray.kill(actor)


@pytest.mark.parametrize("error", [BadBatch("completion q#3: token 9"), UnsupportedAttention("set model.attention")])
def test_run_failure_is_reported_as_a_sentence(raising_actor, error):
    assert run_command_awaiting(raising_actor.fail.remote(error)) == (1, f"stopped: {error}\n")


def test_bug_in_an_actor_is_reported_with_its_traceback(raising_actor):
    code, output = run_command_awaiting(raising_actor.fail.remote(KeyError("x")))
    assert code == 1 and output.startswith("stopped: ") and "Traceback" not in output.splitlines()[0]
    assert "in fail" in output and "KeyError" in output


def test_dead_actor_is_reported(cluster):
    actor = start_actor()
    ray.kill(actor)
    code, output = run_command_awaiting(actor.fail.remote(KeyError("x")))
    assert code == 1 and output.startswith("stopped: ") and "died" in output
