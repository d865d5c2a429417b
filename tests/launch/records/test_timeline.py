"""Timeline: valid JSON after every flush, limited in size, and continued after a kill."""

import json
import time

import pytest

from launch.records.timeline import END, FILE, Laps, Timeline


def read_events(path, kind="X"):
    return [event for event in json.loads(path.read_text()) if event["ph"] == kind]


def test_spans_are_in_microseconds_since_the_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    timeline = Timeline(tmp_path)
    timeline.add_span("generator 0", "generate", 57.0, 57.25, step=3)
    timeline.flush()
    (event,) = read_events(tmp_path / FILE)
    assert event["ts"] == 1_700_000_007_000_000
    assert (event["name"], event["dur"], event["args"]) == ("generate", 250_000, {"step": 3})
    (metadata,) = (event for event in read_events(tmp_path / FILE, "M") if event["name"] == "thread_name")
    assert (metadata["args"], metadata["tid"]) == ({"name": "generator 0"}, event["tid"])


def test_file_is_valid_json_after_every_flush(tmp_path):
    timeline = Timeline(tmp_path)
    for step in range(5):
        with timeline.record_span("driver", f"step {step}"):
            pass
        timeline.flush()
        names = [event["name"] for event in read_events(tmp_path / FILE)]
        assert names == [f"step {number}" for number in range(step + 1)]
    timeline.flush()
    assert len({event["tid"] for event in read_events(tmp_path / FILE)}) == 1


def test_span_is_recorded_if_its_block_raises(tmp_path):
    timeline = Timeline(tmp_path)
    with pytest.raises(ValueError, match="no"), timeline.record_span("driver", "checkpoint"):
        raise ValueError("no")
    timeline.flush()
    assert [event["name"] for event in read_events(tmp_path / FILE)] == ["checkpoint"]


@pytest.mark.parametrize("cut", [1, 2, 3, 50, 100, 150, 1000])
def test_timeline_of_a_killed_run_is_continued(tmp_path, cut):
    timeline = Timeline(tmp_path)
    for name in ("first", "second"):
        timeline.add_span("driver", name, 1.0, 2.0)
        timeline.flush()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = Timeline(tmp_path)
    resumed.add_span("driver", "third", 3.0, 4.0)
    resumed.flush()
    names = [event["name"] for event in read_events(path)]
    assert names == [*["first", "second"][: len(names) - 1], "third"]
    assert (len(names) == 3) == (cut <= len(END))


def test_file_size_is_limited(tmp_path):
    timeline = Timeline(tmp_path, max_bytes=2000)
    for number in range(40):
        timeline.add_span("driver", f"step {number}", 1.0, 2.0)
        timeline.flush()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["timeline.1.json", FILE]
    kept = [event["name"] for name in ("timeline.1.json", FILE) for event in read_events(tmp_path / name)]
    assert kept == [f"step {number}" for number in range(40)][-len(kept) :]
    assert all(path.stat().st_size <= 2500 for path in tmp_path.iterdir())
    metadata = read_events(tmp_path / FILE, "M")
    track_names = {event["tid"]: event["args"]["name"] for event in metadata if event["name"] == "thread_name"}
    assert {track_names[event["tid"]] for event in read_events(tmp_path / FILE)} == {"driver"}


def test_laps_are_timed_drawn_and_announced(tmp_path, monkeypatch):
    timeline = Timeline(tmp_path)
    announced = []
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: 9.0)
        laps = Laps(timeline, announced.append)
        patched.setattr(time, "monotonic", iter([10.0, 12.5, 13.0, 14.0]).__next__)
        with laps("generate"):
            pass
        with laps("update"):
            pass
    assert announced == ["generate", "update"]
    assert (laps.seconds("generate"), laps.seconds("update"), laps.total) == (2.5, 1.0, 5.0)
    timeline.flush()
    assert [(event["name"], event["dur"]) for event in read_events(tmp_path / FILE)] == [
        ("generate", 2.5e6),
        ("update", 1e6),
    ]
