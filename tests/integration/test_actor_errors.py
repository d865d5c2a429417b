"""Errors that real actors raise for a person reach the command as a sentence."""

import io
from typing import Any

import pytest
import ray
from rich.console import Console

from launch.cluster.ray_cluster import unwrapped_ray_errors
from launch.command import failures_reported
from learner.batch_checks import BadBatch
from learner.segment_attention import UnsupportedAttention

pytestmark = pytest.mark.integration


class Raising:
    """An actor whose call raises the given error."""

    def call(self, error):
        raise error


def start() -> Any:
    return ray.remote(Raising).options(num_cpus=0).remote()


def reported(reference):
    output = io.StringIO()
    console = Console(file=output, width=400)
    with pytest.raises(SystemExit) as ended, failures_reported(console), unwrapped_ray_errors():
        ray.get(reference, timeout=60)
    return ended.value.code, output.getvalue()


@pytest.fixture(scope="module")
def raising(cluster):
    actor = start()
    yield actor
    ray.kill(actor)


@pytest.mark.parametrize("error", [BadBatch("completion q#3: token 9"), UnsupportedAttention("set model.attention")])
def test_an_error_for_a_person_is_a_sentence(raising, error):
    assert reported(raising.call.remote(error)) == (1, f"stopped: {error}\n")


def test_a_bug_in_an_actor_keeps_its_traceback(raising):
    code, output = reported(raising.call.remote(KeyError("x")))
    assert code == 1 and output.startswith("stopped: ") and "Traceback" not in output.splitlines()[0]
    assert "in call" in output and "KeyError" in output


def test_an_actor_that_died_is_reported(cluster):
    actor = start()
    ray.kill(actor)
    code, output = reported(actor.call.remote(KeyError("x")))
    assert code == 1 and output.startswith("stopped: ") and "died" in output
