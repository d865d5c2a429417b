"""Pages of steps: incremental builds, budgets, and what damaged or changed rollout files do to them."""

import os
import shutil
from collections import Counter

import pytest

from launch.run_report import step_writer
from launch.run_report.report_folder import ReportFolder
from launch.run_report.rollout_rows import read_groups
from launch.run_report.run_files import read_run_files
from launch.run_report.step_writer import choose_steps, write_step_pages
from launch.run_report.text_selection import NEWEST_STEPS
from tests.launch.run_report.report_reader import measure_report, read_data, read_group_texts
from tests.launch.run_report.run_factory import make_rollout_values, write_rollout_file, write_run

GROUPS = 4


class Report:
    """A run, its report, and the steps whose rollout files a build read."""

    def __init__(self, run, output, monkeypatch):
        self.run = run
        self.path = output
        self.reads = Counter()
        self.footers = 0
        monkeypatch.setattr(step_writer, "read_groups", self.read)
        monkeypatch.setattr(step_writer, "count_rows", self.count)

    def read(self, path, *, texts=True):
        self.reads[int(path.stem.removeprefix("step_")), texts] += 1
        return read_groups(path, texts=texts)

    def count(self, path):
        self.footers += 1
        return len(read_groups(path)) * GROUPS

    def build(self):
        """Build the pages; return the levels of the steps."""
        self.reads.clear()
        self.footers = 0
        folder = ReportFolder(self.path)
        self.pages = write_step_pages(read_run_files(self.run), folder)
        folder.remove_data(("front", *self.pages.names))
        (self.path / "data" / "front.js").write_bytes(b"")
        self.check_files()
        return {record.step: record.level for record in self.pages.records}

    def check_files(self):
        """Check that the files are exactly those of the records, and that every text can be found."""
        names = {path.stem for path in (self.path / "data").glob("*.js")} - {"front"}
        assert names == set(self.pages.names)
        for record in self.pages.records:
            assert read_data(self.path, f"step_{record.step:06d}")["step"] == record.step
            for index, group in enumerate(record.groups):
                if record.level == "all" or (record.level == "signal" and group.spread):
                    texts = read_group_texts(self.path, record.step, index)
                    assert len(texts["samples"]) == group.size

    def add_steps(self, *steps, question="q"):
        for step in steps:
            rows = [make_rollout_values(step, group, sample) for group in range(GROUPS) for sample in range(4)]
            rows = [row | {"question_id": f"{question}/{row['question_id']}"} for row in rows]
            write_rollout_file(self.run / "rollouts" / f"step_{step:06d}.parquet", rows)


@pytest.fixture
def report(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", steps=12, groups=GROUPS, with_evaluations=False)
    return Report(run, tmp_path / "report", monkeypatch)


def measure_texts(report):
    return measure_report(report.path)["texts"]


def test_all_texts_of_a_small_run(report):
    assert set(report.build().values()) == {"all"}
    assert report.pages.every == 1 and len(report.pages.records) == 12
    assert set(report.reads) == {(step, texts) for step in range(12) for texts in (True, False)}
    assert all("tokens are shown as numbers" in note for note in report.pages.notes)


def test_build_without_changes_reads_no_rollout_file(report):
    levels = report.build()
    assert report.build() == levels and not report.reads and not report.footers


def test_new_step_is_all_that_is_read(report):
    report.build()
    report.add_steps(12)
    assert set(report.build().values()) == {"all"}
    assert report.reads == {(12, False): 1, (12, True): 1}


def test_rewritten_step_is_read_again(report):
    report.build()
    report.add_steps(5, question="other")
    report.build()
    assert report.reads == {(5, False): 1, (5, True): 1}
    assert read_data(report.path, "step_000005")["questions"][0].startswith("other/")
    assert any(name.startswith("other/") for name in read_data(report.path, "groups")["questions"])


def test_vanished_step_has_no_pages(report):
    report.build()
    for step in (10, 11):
        (report.run / "rollouts" / f"step_{step:06d}.parquet").unlink()
    assert max(report.build()) == 9 and not report.reads
    shutil.rmtree(report.run / "rollouts")
    assert report.build() == {} and read_data(report.path, "groups")["questions"] == []


def test_damaged_files_are_noted_and_the_others_shown(report):
    path = report.run / "rollouts" / "step_000011.parquet"
    path.write_bytes(path.read_bytes()[:500])
    (report.run / "rollouts" / "step_000003.parquet").write_bytes(b"")
    assert set(report.build()) == {*range(12)} - {3, 11}
    assert sorted(note.split()[0] for note in report.pages.notes[:2]) == ["step_000003.parquet", "step_000011.parquet"]
    report.add_steps(11)  # the file is whole when the run has written it
    assert 11 in report.build()


def test_file_that_vanishes_during_the_build_has_no_texts(report, monkeypatch):
    read = report.read

    def read_and_delete(path, *, texts=True):
        if texts:
            (report.run / "rollouts" / "step_000005.parquet").unlink(missing_ok=True)
        return read(path, texts=texts)

    monkeypatch.setattr(step_writer, "read_groups", read_and_delete)
    levels = report.build()
    assert levels[5] == "none" and levels[4] == "all"


@pytest.mark.parametrize("name", ["texts_000004_0", "texts_000004", "step_000004"])
@pytest.mark.parametrize("content", [None, b"report.receive("])
def test_lost_or_cut_page_is_written_again(report, name, content):
    levels = report.build()
    path = report.path / "data" / f"{name}.js"
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert report.build() == levels
    assert path.read_bytes() == before and {step for step, _ in report.reads} == {4}


def test_build_that_was_killed_before_its_manifest(report, monkeypatch):
    levels = report.build()
    manifest = (report.path / "data" / "manifest.json").read_bytes()
    budget = measure_texts(report) // 2
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", budget)
    report.build()
    (report.path / "data" / "manifest.json").write_bytes(manifest)  # texts are those of the later build
    monkeypatch.undo()
    report = Report(report.run, report.path, monkeypatch)
    assert report.build() == levels


class Killed(BaseException):
    """The end of a build at its deadline, which no handler sees."""


def test_build_that_was_killed_is_continued(report, monkeypatch):
    monkeypatch.setattr(step_writer, "SAVE_INTERVAL", 2)
    killed_at = [6, 6, 6]

    def read_until_killed(path, *, texts=True):
        if killed_at and sum(has_texts for _, has_texts in report.reads) == killed_at[0]:
            killed_at.pop(0)
            raise Killed
        return report.read(path, texts=texts)

    monkeypatch.setattr(step_writer, "read_groups", read_until_killed)
    figures = []
    texts = []
    for _ in range(2):
        with pytest.raises(Killed):
            report.build()
        figures.append(sum(not has_texts for _, has_texts in report.reads))
        texts.append({step for step, has_texts in report.reads if has_texts})
    assert figures == [12, 0] and len(texts[0] & texts[1]) <= 2  # those after the last manifest
    killed_at.clear()
    assert set(report.build().values()) == {"all"}
    assert len(report.reads) <= 4 and texts[0] | texts[1] | {step for step, _ in report.reads} == set(range(12))


def test_other_tokenizer_changes_texts_but_not_figures(report):
    report.build()
    folder = report.run / "checkpoints" / "step_000001"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    report.build()
    assert report.reads == {(step, True): 1 for step in range(12)}
    assert any("cannot be read" in note for note in report.pages.notes)
    os.rename(folder, folder.with_name("step_000002"))
    report.build()
    assert not report.reads


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.95])
def test_texts_keep_to_their_budget(report, monkeypatch, share):
    report.build()
    budget = int(share * measure_texts(report))
    shutil.rmtree(report.path)
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", budget)
    levels = report.build()
    assert measure_texts(report) <= budget
    first = dict(levels)
    assert report.build() == first and not report.reads  # also what did not fit is not tried again
    chosen = [step for step in reversed(range(12)) if levels[step] == "all"]
    if share >= 0.6:
        assert set(range(11, 11 - NEWEST_STEPS, -1)) <= set(chosen) and levels[0] == "all"


def test_newer_steps_take_the_room_of_older_ones(report, monkeypatch):
    report.run = write_run(report.run.with_name("long"), steps=60, groups=GROUPS, with_evaluations=False)
    report.build()
    budget = measure_texts(report) * 20 // 60
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", budget)
    shutil.rmtree(report.path)
    before = report.build()
    assert [before[step] for step in (59, 58, 57, 0)] == ["all"] * 4 and "none" in before.values()
    report.add_steps(60, 61)
    after = report.build()
    assert [after[step] for step in (61, 60, 59, 0)] == ["all"] * 4
    assert after[57] in ("signal", "none") and measure_texts(report) <= budget
    assert len({step for step, _ in report.reads}) <= 6  # those whose level changes
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", 100 * budget)
    assert set(report.build().values()) == {"all"}
    assert not {texts for _, texts in report.reads} - {True}


def test_figures_keep_to_their_budget(report, monkeypatch):
    report.run = write_run(report.run.with_name("long"), steps=40, groups=GROUPS, with_evaluations=False)
    report.build()
    budget = measure_report(report.path)["figures"] // 3
    monkeypatch.setattr(step_writer, "FIGURES_BUDGET", budget)
    shutil.rmtree(report.path)
    levels = report.build()
    every = report.pages.every
    assert every in (4, 8) and measure_report(report.path)["figures"] <= budget
    assert set(levels) == {step for step in range(40) if step % every == 0} | {39, 38, 37}
    assert any(f"one step in {every}" in note for note in report.pages.notes)
    assert report.build() == levels and not report.reads and report.pages.every == every
    report.add_steps(40)
    report.build()
    assert report.reads == {(40, False): 1, (40, True): 1} and report.pages.every == every


def test_smallest_budget_of_figures_leaves_the_newest_steps(report, monkeypatch):
    monkeypatch.setattr(step_writer, "FIGURES_BUDGET", 1)
    assert set(report.build()) == {0, 9, 10, 11}


def test_steps_that_are_kept_at_a_distance(tmp_path):
    run = write_run(tmp_path / "run", steps=20, groups=1, samples=1, with_evaluations=False)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "best.json").write_text('{"step": 5, "metric": "m", "value": 1.0}')
    files = read_run_files(run)
    assert [file.step for file in choose_steps(files, 8)] == [0, 5, 8, 16, 17, 18, 19]
    assert len(choose_steps(files, 1)) == 20


def test_groups_with_signal_only(report, monkeypatch):
    report.run = write_run(report.run.with_name("long"), steps=60, groups=GROUPS, with_evaluations=False)
    report.build()
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", 3 * measure_texts(report) // 4)
    levels = report.build()
    step = next(step for step, level in levels.items() if level == "signal")
    with_signal = [
        group.index for group in read_groups(report.run / "rollouts" / f"step_{step:06d}.parquet") if group.has_signal
    ]
    index = read_data(report.path, f"texts_{step:06d}")
    assert index["level"] == "signal" and [group for chunk in index["chunks"] for group in chunk] == with_signal


def test_step_without_signal_is_not_read_for_its_texts(tmp_path, monkeypatch):
    run = write_run(
        tmp_path / "run",
        steps=60,
        with_evaluations=False,
        change_row=lambda row: row | {"reward": 1.0, "status": "passed"},
    )
    report = Report(run, tmp_path / "report", monkeypatch)
    report.build()
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", 3 * measure_texts(report) // 5)
    shutil.rmtree(report.path)
    levels = report.build()
    assert "signal" in levels.values()
    assert not {step for step, level in levels.items() if level == "signal"} & {
        step for step, texts in report.reads if texts
    }


def test_index_of_groups(report):
    report.build()
    index = read_data(report.path, "groups")
    assert len(index["step"]) == 12 * GROUPS and index["size"] == {"all": 4}
    place = index["step"].index(5) + 1
    assert index["questions"][index["question"][place]] == "starter/family_1/0000"
    assert (index["group"][place], index["passed"][place], index["mean"][place]) == (1, 2, 0.5)
    assert index["judged"] == {"all": 4}
    assert index["levels"]["5"] == "all"
