"""Training set that is curated on first use: its directory, the cache, messages without a hub, and the dry run."""

import io
import json
import os
import threading

import pytest
import yaml
from huggingface_hub.errors import OfflineModeIsEnabled
from rich.console import Console

from evaluator.errors import RunFailed
from launch import preflight
from launch.cluster import ray_cluster
from launch.cluster.placement import PlacementError
from launch.composition import compose_config
from launch.curation import hub_files, run, training_plan, training_set
from launch.curation.sources import source_files
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import SourceError
from launch.curation.training_plan import CURATED_SOURCES, load_curate_settings, plan_training_set
from launch.curation.training_set import describe_training_set, lock_directory, provide_training_set
from launch.problems.datasets import BENCHMARK_LOADERS, DatasetError, load_dataset
from tests.factories import make_config

DEEPCODER_FILES = "primeintellect/train-*.parquet, taco/train-*.parquet, lcbv5/train-*.parquet"


def make_row(question_id):
    tests = [{"input": "1 2\n", "output": "3\n"}]
    return {"question_id": question_id, "question_content": question_id, "private_test_cases": json.dumps(tests)}


def write_rows(path, *question_ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(make_row(question_id)) + "\n" for question_id in question_ids))
    return path


def make_run(tmp_path, *overrides):
    """Make a configuration that trains on the rows of a file; ``overrides`` may replace it."""
    file = tmp_path / "mine.jsonl"
    if not file.exists():
        write_rows(file, "a", "b")
    defaults = ["dataset.name=null", f"dataset.train={file}", "dataset.exclude=[]", f"run.root={tmp_path / 'runs'}"]
    return make_config(*defaults, *overrides)


def plan(tmp_path, *overrides):
    return plan_training_set(make_run(tmp_path, *overrides).dataset).directory


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """Use a cache of training sets and a cache of the hub that are empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub_files, "snapshot_download", refuse)
    monkeypatch.setattr(hub_files, "try_to_load_from_cache", lambda *_, **__: None)


def refuse(*_, **__):
    raise OfflineModeIsEnabled("offline mode")


class FakeCuration:
    """Stand-in for ``run_curation`` that writes two problems and records its arguments."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.fails = False
        monkeypatch.setattr(run, "run_curation", self)
        monkeypatch.setattr(preflight, "check_training_resources", lambda config: None)

    def __call__(self, config, sources, console, excluded):
        self.calls.append((config, sources, excluded))
        output = training_plan.Path(config.output)
        (output / "work").mkdir(parents=True, exist_ok=True)
        if self.fails:
            raise RunFailed("verify, block 1: killed")
        write_rows(output / "problems.parquet", "a", "b")


@pytest.fixture
def curation(monkeypatch):
    return FakeCuration(monkeypatch)


def provide(config):
    """Return the file of the training set, and what was printed."""
    output = io.StringIO()
    return provide_training_set(config, Console(file=output, width=1000)), output.getvalue()


@pytest.mark.heavy
@pytest.mark.parametrize(
    "overrides",
    [
        ("dataset.train=[mine.jsonl,other.jsonl]",),
        ("dataset.train=[other.jsonl,mine.jsonl]",),
        ("dataset.train=deepcoder:mine.jsonl",),
        ("dataset.exclude=[other.jsonl]",),
        ("dataset.exclude=[humaneval]",),
        ("dataset.exclude=[humaneval:other.jsonl]",),
        ("dataset.name=lcb_v6",),
        ("dataset.name=lcb_v6", "dataset.held_out_path=other.jsonl"),
        ("dataset.name=lcb_v6", "dataset.start_date=2025-02-01"),
        ("dataset.name=lcb_v6", "dataset.allow_overlap=true", "dataset.exclude=[mbpp]"),
        ("dataset.held_out_path=other.jsonl",),
    ],
)
def test_directory_depends_on_what_a_row_depends_on(tmp_path, overrides):
    write_rows(tmp_path / "other.jsonl", "c")
    first = plan(tmp_path)
    changed = plan(tmp_path, *overrides)
    assert first is not None and changed is not None and changed != first
    assert plan(tmp_path, *overrides) == changed
    write_rows(tmp_path / "other.jsonl", "d")
    has_changed = plan(tmp_path, *overrides) != changed
    assert has_changed == any("other.jsonl" in override for override in overrides)


def test_directory_depends_on_rows_settings_and_code(tmp_path, monkeypatch):
    first = plan(tmp_path)
    settings = load_curate_settings()
    for changed in ({"max_tests": 3}, {"keep_unverified": True}):
        monkeypatch.setattr(training_plan, "load_curate_settings", lambda changed=changed: settings | changed)
        assert plan(tmp_path) != first
    monkeypatch.setattr(training_plan, "load_curate_settings", lambda: settings)
    assert plan(tmp_path) == first
    write_rows(tmp_path / "mine.jsonl", "a", "c")
    assert plan(tmp_path) != first
    write_rows(tmp_path / "mine.jsonl", "a", "b")
    monkeypatch.setattr(training_plan, "hash_source_code", lambda: "other code")
    assert plan(tmp_path) != first


def test_directory_does_not_depend_on_what_no_row_depends_on(tmp_path):
    first = plan(tmp_path)
    os.utime(tmp_path / "mine.jsonl", ns=(1, 1))
    assert plan(tmp_path) == first
    copy = write_rows(tmp_path / "elsewhere" / "mine.jsonl", "a", "b")
    assert plan(tmp_path, f"dataset.train=[{copy}]") == first
    assert plan(tmp_path, "dataset.strict=true", "dataset.prompt=training", "run.seed=5", "cluster.num_cpus=1") == first
    assert first.name.startswith("mine-")


def test_directory_depends_on_the_revision_of_a_source_on_the_hub(tmp_path, monkeypatch):
    assert plan(tmp_path, "dataset.train=taco") is None
    directories = []
    for revision in ("1111", "2222"):
        folder = str(tmp_path / "snapshots" / revision)
        monkeypatch.setattr(hub_files, "snapshot_download", lambda *_, folder=folder, **__: folder)
        directories.append(plan(tmp_path, "dataset.train=taco"))
    assert directories[0] != directories[1] and directories[0].name.startswith("taco-")


def test_curated_is_all_published_sets_but_benchmarks():
    assert set(CURATED_SOURCES) == set(READERS) - set(BENCHMARK_LOADERS) | {"livecodebench"}
    config = make_config("dataset.train=curated").dataset
    assert tuple(plan_training_set(config).sources) == CURATED_SOURCES


@pytest.mark.parametrize("value", ["tako", "/nowhere.jsonl", "[taco,tako]", "tako:/tmp"])
def test_unknown_value_is_reported_with_the_known_ones(tmp_path, value):
    config = make_run(tmp_path, f"dataset.train={value}")
    with pytest.raises(SourceError) as caught:
        provide(config)
    assert "is neither a file nor one of codecontests, codeforces, curated, deepcoder, humaneval," in str(caught.value)
    assert "starter, taco (docs/training_sets.md)" in str(caught.value)
    with pytest.raises(SourceError):
        describe_training_set(config.dataset)


@pytest.mark.parametrize("value", ["[starter,taco]", "[taco,curated]"])
def test_sets_that_stand_alone_cannot_be_combined(tmp_path, value):
    with pytest.raises(SourceError, match="cannot be combined with other sources"):
        provide(make_run(tmp_path, f"dataset.train={value}"))


@pytest.mark.parametrize(
    "overrides",
    [("dataset.path=problems.jsonl",), ("dataset.train=starter",), ("dataset.train=null", "dataset.name=starter")],
)
def test_nothing_is_curated_for_a_file_or_built_in_problems(tmp_path, curation, overrides):
    assert provide(make_run(tmp_path, *overrides)) == (None, "")
    assert curation.calls == []


def test_experiment_takes_its_set_unless_a_file_is_given(tmp_path, curation):
    assert compose_config("+experiment=lcb_v6").dataset.train == ["deepcoder"]
    assert provide(compose_config("+experiment=lcb_v6", "dataset.path=problems.jsonl")) == (None, "")


def test_a_set_is_curated_once_and_trained_on(tmp_path, curation):
    held_out = write_rows(tmp_path / "held_out.jsonl", "c")
    excluded = write_rows(tmp_path / "excluded.jsonl", "d")
    config = make_run(
        tmp_path, f"dataset.held_out_path={held_out}", f"dataset.exclude=[{excluded}]", "cluster.num_cpus=1"
    )
    file, printed = provide(config)
    assert printed.startswith(
        f"training set: {tmp_path}/mine.jsonl, without what overlaps held_out, {excluded}: curating"
    )
    (call,) = curation.calls
    settings, (source,), test_sets = call
    assert source.files == (tmp_path / "mine.jsonl",)
    assert [test_set.name for test_set in test_sets] == ["held_out", "excluded"]
    assert (settings.max_tests, settings.keep_unverified, settings.cluster.num_cpus) == (15, False, 1)
    assert sorted(path.name for path in file.parent.iterdir()) == ["problems.parquet", "problems.sha256"]
    assert provide(config) == (file, "")
    assert len(curation.calls) == 1
    assert [problem.question_id for problem in load_dataset(config.dataset, file).training] == ["a", "b"]


def test_a_curation_that_ended_early_goes_on_in_the_same_directory(tmp_path, curation):
    config = make_run(tmp_path)
    curation.fails = True
    with pytest.raises(RunFailed):
        provide(config)
    curation.fails = False
    file, _ = provide(config)
    assert [settings.output for settings, *_ in curation.calls] == [str(file.parent)] * 2


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_set_is_named(tmp_path, curation, damage):
    config = make_run(tmp_path)
    file, _ = provide(config)
    if damage == "changed":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    with pytest.raises(DatasetError, match=rf"{file}: damaged: .*Remove the directory {file.parent}: "):
        provide(config)


@pytest.mark.heavy
@pytest.mark.timeout(60)
def test_a_second_run_waits_for_the_first_one(tmp_path):
    output = io.StringIO()
    entered = threading.Event()

    def curate_second():
        with lock_directory(tmp_path / "set", Console(file=output, width=1000)):
            entered.set()

    second = threading.Thread(target=curate_second)
    with lock_directory(tmp_path / "set", Console(file=io.StringIO())):
        second.start()
        while "waiting for it" not in output.getvalue():
            second.join(0.01)
        assert not entered.is_set()
    second.join()
    assert entered.is_set()
    assert output.getvalue() == f"another run is curating {tmp_path / 'set'}: waiting for it\n"


def test_the_wait_for_another_run_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(training_set, "LOCK_TIMEOUT_S", 0.0)
    console = Console(file=io.StringIO())
    with (
        lock_directory(tmp_path / "set", console),
        pytest.raises(RunFailed, match=r"another run has been curating .*set for 0 hours"),
        lock_directory(tmp_path / "set", console),
    ):
        pass


def write_run(config, file):
    """Write what a run records of its configuration."""
    folder = training_plan.Path(config.run.root, config.run.name)
    folder.mkdir(parents=True)
    dataset = {name: getattr(config.dataset, name) for name in ("name", "train", "exclude", "allow_overlap")}
    (folder / "config.yaml").write_text(yaml.safe_dump({"dataset": {**dataset, "path": str(file)}}))


@pytest.mark.heavy
def test_a_resumed_run_keeps_its_set(tmp_path, curation, monkeypatch):
    first = make_run(tmp_path, "run.name=r")
    file, _ = provide(first)
    write_run(first, file)
    monkeypatch.setattr(training_plan, "hash_source_code", lambda: "newer code")
    assert provide(make_run(tmp_path, "run.name=r", "run.resume=true")) == (file, "")
    other, _ = provide(make_run(tmp_path, "run.name=r2", "run.resume=true"))
    assert other != file
    write_rows(tmp_path / "excluded.jsonl", "d")
    changed, _ = provide(make_run(tmp_path, "run.name=r", "run.resume=true", "dataset.exclude=[excluded.jsonl]"))
    assert changed not in (file, other)


def test_without_a_hub_the_message_names_commands_files_and_settings(tmp_path, curation, monkeypatch):
    monkeypatch.setattr(source_files.HfApi, "list_repo_files", refuse)
    with pytest.raises(DatasetError) as caught:
        provide(compose_config("+experiment=lcb_v6"))
    assert str(caught.value) == (
        f"dataset.train: cannot download {DEEPCODER_FILES} of agentica-org/DeepCoder-Preview-Dataset from the hub "
        "(offline mode);\n"
        "without a hub: on a machine with network access run\n"
        "  hf download agentica-org/DeepCoder-Preview-Dataset --repo-type dataset --include "
        "'primeintellect/train-*.parquet' --include 'taco/train-*.parquet' --include 'lcbv5/train-*.parquet' "
        "--local-dir data/DeepCoder-Preview-Dataset\n"
        "  hf download livecodebench/code_generation_lite --repo-type dataset --include 'test6.jsonl' "
        "--local-dir data/code_generation_lite\n"
        "  hf download openai/openai_humaneval --repo-type dataset --include "
        "'openai_humaneval/test-00000-of-00001.parquet' --local-dir data/openai_humaneval\n"
        "  hf download google-research-datasets/mbpp --repo-type dataset --include "
        "'full/test-00000-of-00001.parquet' --local-dir data/mbpp\n"
        "copy its folder data to the working directory of this command, and add: "
        "'dataset.train=[deepcoder:data/DeepCoder-Preview-Dataset]' "
        "dataset.held_out_path=data/code_generation_lite/test6.jsonl "
        "'dataset.exclude=[humaneval:data/openai_humaneval/openai_humaneval/test-00000-of-00001.parquet,"
        "mbpp:data/mbpp/full/test-00000-of-00001.parquet]'"
    )
    assert curation.calls == []


def test_missing_test_set_is_reported_with_the_command(tmp_path, curation, monkeypatch):
    monkeypatch.setattr("launch.problems.published_files.hf_hub_download", refuse)
    with pytest.raises(DatasetError) as caught:
        provide(make_run(tmp_path, "dataset.exclude=[humaneval]"))
    message = str(caught.value)
    assert message.startswith(
        "dataset.exclude: humaneval: cannot download openai_humaneval/test-00000-of-00001.parquet"
    )
    assert "\n  hf download openai/openai_humaneval --repo-type dataset " in message
    with pytest.raises(DatasetError) as caught:
        provide(make_run(tmp_path, f"dataset.exclude=[humaneval:{tmp_path / 'absent'}]"))
    assert "absent: no such file" in str(caught.value) and "hf download" not in str(caught.value)


def test_dry_run_shows_what_is_missing_and_what_would_be_curated(tmp_path, curation):
    described = describe_training_set(compose_config("+experiment=lcb_v6").dataset)
    assert described[0] == (
        "training problems: deepcoder, without what overlaps lcb_v6, humaneval, mbpp: the run curates them first, into "
        "a directory of .cache/datasets, which depends on the revision of the files"
    )
    assert described[1].startswith("missing: files that the run downloads; without a hub: ")
    assert "hf download agentica-org/DeepCoder-Preview-Dataset" in described[1]
    config = make_run(tmp_path)
    directory = plan_training_set(config.dataset).directory
    (line,) = describe_training_set(config.dataset)
    assert line == f"training problems: {tmp_path}/mine.jsonl: the run curates them first, into {directory}"
    assert not directory.exists() and curation.calls == []
    provide(config)
    assert describe_training_set(config.dataset) == [
        f"training problems: {tmp_path}/mine.jsonl: curated in {directory}"
    ]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("dataset.path=absent.jsonl",), "missing: dataset.path=absent.jsonl: no such file; "),
        (("dataset.path=mine.jsonl",), "training problems: dataset.path=mine.jsonl"),
        (("dataset.train=starter",), "training problems: dataset.train=starter"),
        (("dataset.train=taco:absent",), "missing: dataset.train: taco: absent has none of data/train-*.parquet"),
        (("dataset.train=null", "dataset.name=lcb_v6"), "missing: dataset.name=lcb_v6 has no training problems: "),
    ],
)
def test_dry_run_shows_other_training_problems(tmp_path, overrides, expected):
    (line,) = describe_training_set(make_run(tmp_path, *overrides).dataset)
    assert line.startswith(expected)


def test_nothing_is_curated_for_a_run_without_resources(tmp_path, curation, monkeypatch):
    def fail(config):
        raise PlacementError("8 GPUs are missing")

    monkeypatch.setattr(preflight, "check_training_resources", fail)
    with pytest.raises(PlacementError):
        provide(make_run(tmp_path))
    assert curation.calls == []


def test_a_set_is_not_curated_into_the_deleted_directory_of_a_job(tmp_path, curation, monkeypatch):
    monkeypatch.setenv(ray_cluster.RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")
    with pytest.raises(DatasetError, match=r"python -m launch\.curate 'sources=\[.*mine\.jsonl\]' 'exclude=\[\]'"):
        provide(make_run(tmp_path))
    assert curation.calls == []
