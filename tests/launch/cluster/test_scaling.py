"""Finding a live run and what is said when there is none; the change itself is in tests/integration."""

import json
import socket

import pytest

from conf.schema import ConfigError, ScaleConfig
from conf.validation import parse_scale
from launch.cluster.scaling import CLUSTER, MailboxAddress, find_mailbox, read_address, room
from launch.records.run_path import RunDirectoryError, find_run


def test_the_settings():
    values = {"run": "runs/r", "evaluators": 3, "deadline_s": 120}
    assert parse_scale(values) == ScaleConfig("runs/r", 3, 120.0)
    for wrong in ("many", 0, -1, 1.5, None):
        with pytest.raises(ConfigError, match=r"^evaluators: "):
            parse_scale(values | {"evaluators": wrong})
    with pytest.raises(ConfigError, match=r"^run: .*missing: name a directory"):
        parse_scale(values | {"run": None})


def test_a_run_is_named_by_its_directory_or_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=r"^run=mine: no such run: neither mine nor runs/mine has"):
        find_run("mine")
    (tmp_path / "runs" / "mine" / "config.yaml").write_text("")
    assert find_run("mine") == find_run("runs/mine")


def test_a_run_that_has_ended(tmp_path):
    with pytest.raises(RunDirectoryError, match="it has ended, or its evaluators have not started yet"):
        read_address(tmp_path)


def test_a_run_whose_driver_was_killed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    (tmp_path / CLUSTER).write_text(
        json.dumps({"address": address, "namespace": "r", "name": "scaling-1", "auth_mode": "disabled"})
    )
    where = read_address(tmp_path)
    assert where == MailboxAddress(address=address, namespace="r", name="scaling-1", auth_mode="disabled")
    with pytest.raises(RunDirectoryError, match=rf"it has ended, or its Ray cluster at {address} is not to be reached"):
        find_mailbox(tmp_path, where)


@pytest.mark.parametrize(
    ("free", "cpus", "most"),
    [
        ({"CPU": 8.0, "evaluator": 3.0}, 2.0, 3),
        ({"CPU": 5.9, "evaluator": 3.0}, 2.0, 2),
        ({"CPU": 0.3, "evaluator": 30.0}, 0.1, 3),
        ({"CPU": 8.0}, 2.0, 0),
        ({"evaluator": 3.0}, 2.0, 0),
        ({"evaluator": 3.0}, 0.0, 3),
    ],
)
def test_room_is_what_both_resources_hold(free, cpus, most):
    assert room(free, cpus) == most
