"""The timeline is whole JSON at any time, bounded, and goes on after a kill."""

import json
import time

import pytest

from launch.records.timeline import END, FILE, Laps, Timeline


def events(path, kind="X"):
    return [event for event in json.loads(path.read_text()) if event["ph"] == kind]


def test_spans_are_in_microseconds_since_the_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    timeline = Timeline(tmp_path)
    timeline.span("generator 0", "generate", 57.0, 57.25, step=3)
    timeline.flush()
    (event,) = events(tmp_path / FILE)
    assert event["ts"] == 1_700_000_007_000_000
    assert (event["name"], event["dur"], event["args"]) == ("generate", 250_000, {"step": 3})
    (name,) = (one for one in events(tmp_path / FILE, "M") if one["name"] == "thread_name")
    assert (name["args"], name["tid"]) == ({"name": "generator 0"}, event["tid"])


def test_the_file_is_whole_after_every_flush(tmp_path):
    timeline = Timeline(tmp_path)
    for step in range(5):
        with timeline.during("driver", f"step {step}"):
            pass
        timeline.flush()
        assert [event["name"] for event in events(tmp_path / FILE)] == [f"step {number}" for number in range(step + 1)]
    timeline.flush()
    assert len({event["tid"] for event in events(tmp_path / FILE)}) == 1


def test_a_span_is_drawn_when_its_block_raises(tmp_path):
    timeline = Timeline(tmp_path)
    with pytest.raises(ValueError, match="no"), timeline.during("driver", "checkpoint"):
        raise ValueError("no")
    timeline.flush()
    assert [event["name"] for event in events(tmp_path / FILE)] == ["checkpoint"]


@pytest.mark.parametrize("cut", [1, 2, 3, 50, 100, 150, 1000])
def test_a_resumed_run_goes_on_with_what_a_kill_has_left(tmp_path, cut):
    timeline = Timeline(tmp_path)
    for name in ("first", "second"):
        timeline.span("driver", name, 1.0, 2.0)
        timeline.flush()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = Timeline(tmp_path)
    resumed.span("driver", "third", 3.0, 4.0)
    resumed.flush()
    names = [event["name"] for event in events(path)]
    assert names == [*["first", "second"][: len(names) - 1], "third"]
    assert (len(names) == 3) == (cut <= len(END))


def test_the_file_is_bounded(tmp_path):
    timeline = Timeline(tmp_path, most_bytes=2000)
    for number in range(40):
        timeline.span("driver", f"step {number}", 1.0, 2.0)
        timeline.flush()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["timeline.1.json", FILE]
    kept = [event["name"] for name in ("timeline.1.json", FILE) for event in events(tmp_path / name)]
    assert kept == [f"step {number}" for number in range(40)][-len(kept) :]
    assert all(path.stat().st_size <= 2500 for path in tmp_path.iterdir())
    named = {
        event["tid"]: event["args"]["name"] for event in events(tmp_path / FILE, "M") if event["name"] == "thread_name"
    }
    assert {named[event["tid"]] for event in events(tmp_path / FILE)} == {"driver"}


def test_laps_follow_each_other(tmp_path):
    timeline = Timeline(tmp_path)
    laps = Laps(timeline)
    seconds = [laps.done(name).seconds for name in ("wait", "update")]
    assert sum(seconds) == pytest.approx(laps.total)
    timeline.flush()
    first, second = events(tmp_path / FILE)
    assert first["ts"] + first["dur"] == pytest.approx(second["ts"], abs=2)
