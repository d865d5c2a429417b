"""Finding a running run and its mailbox; tests/integration/test_evaluators.py tests the scaling itself."""

import json
import socket

import pytest

from conf.schema import ConfigError, ScaleConfig
from conf.validation import parse_scale
from launch.cluster.scaling import (
    CLUSTER_FILE,
    MailboxAddress,
    count_fitting_evaluators,
    find_mailbox,
    read_mailbox_address,
)
from launch.records.run_path import RunDirectoryError, find_run


def test_settings_are_validated():
    values = {"run": "runs/r", "evaluators": 3, "deadline_s": 120}
    assert parse_scale(values) == ScaleConfig("runs/r", 3, 120.0)
    for invalid in ("many", 0, -1, 1.5, None):
        with pytest.raises(ConfigError, match=r"^evaluators: "):
            parse_scale(values | {"evaluators": invalid})
    with pytest.raises(ConfigError, match=r"^run: .*missing: set it to a directory"):
        parse_scale(values | {"run": None})


def test_run_is_found_by_directory_or_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=r"^run=mine: no such run: neither mine nor runs/mine has"):
        find_run("mine")
    (tmp_path / "runs" / "mine" / "config.yaml").write_text("")
    assert find_run("mine") == find_run("runs/mine")


def test_ended_run_is_an_error(tmp_path):
    with pytest.raises(RunDirectoryError, match="it has ended, or its evaluators have not started yet"):
        read_mailbox_address(tmp_path)


def test_run_with_killed_driver_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    (tmp_path / CLUSTER_FILE).write_text(
        json.dumps({"address": address, "namespace": "r", "name": "scaling-1", "auth_mode": "disabled"})
    )
    mailbox_address = read_mailbox_address(tmp_path)
    assert mailbox_address == MailboxAddress(address=address, namespace="r", name="scaling-1", auth_mode="disabled")
    with pytest.raises(RunDirectoryError, match=rf"it has ended, or its Ray cluster at {address} cannot be reached"):
        find_mailbox(tmp_path, mailbox_address)


@pytest.mark.parametrize(
    ("free", "cpus", "count"),
    [
        ({"CPU": 8.0, "evaluator": 3.0}, 2.0, 3),
        ({"CPU": 5.9, "evaluator": 3.0}, 2.0, 2),
        ({"CPU": 0.3, "evaluator": 30.0}, 0.1, 3),
        ({"CPU": 8.0}, 2.0, 0),
        ({"evaluator": 3.0}, 2.0, 0),
        ({"evaluator": 3.0}, 0.0, 3),
    ],
)
def test_fitting_evaluators_are_limited_by_both_resources(free, cpus, count):
    assert count_fitting_evaluators(free, cpus) == count
