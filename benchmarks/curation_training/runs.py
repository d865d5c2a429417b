"""Runs of the training proof: settings, identity of what they share, and one run of the driver per arm and seed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ablation.environment import select_settings
from benchmarks.ablation.rows import Row
from benchmarks.ablation.runs import read_run, run_driver
from benchmarks.curation_training.pool import HELD_OUT_FILE, ArmName, TrainingSets, hash_rows, write_rows
from benchmarks.tools.processes import ROOT
from evaluator.problem import to_row
from launch.composition import compose_config
from launch.models.starter_policy import load_warm_start_defaults, name_starter_policy

RUNS = ROOT / "runs" / "curation_training"
SEEDS = (0, 1, 2)
STEPS = 56
TEMPERATURE = 1.0
LOW_TEMPERATURE = 0.3
STEP_TIMEOUT_S = 120.0
"""Largest mean seconds per step, start and evaluations included; a run that needs more has hung."""

BASE = (
    "+experiment=quickstart",
    "algorithm.train_batch_size=8",
    "algorithm.mini_batch_size=2",
    "temperature.kind=fixed",  # a calibration would measure another temperature for each arm
    f"temperature.value={TEMPERATURE}",
    f"evaluation.other_temperatures=[{LOW_TEMPERATURE}]",
    "evaluation.every=0",
    "dataset.allow_overlap=true",  # the held-out problems of the trained families resemble those of the pool
    "run.tensorboard=false",
    "run.keep_checkpoints=1",
    "run.checkpoint_every=20",
)
"""Settings of both arms, as overrides of the driver."""


def hash_environment(sets: TrainingSets, steps: int) -> str:
    """Hash the starter policy's recipe, all problems, and the settings. Rows of another environment do not compare."""
    rows = [[to_row(problem) for problem in problems] for problems in (sets.pool, sets.curated, sets.held_out)]
    settings = select_settings(compose_config(*BASE, f"run.steps={steps}"))
    return hash_rows(rows, [settings, name_starter_policy(load_warm_start_defaults())])


def train_arm(arm: ArmName, seed: int, sets: TrainingSets, environment: str, steps: int) -> Row:
    """Train on the problems of an arm, or continue its run where a kill ended it, and return its row.

    Raises:
        RunError: the run fails or does not end in time.
    """
    name = f"{environment}/{arm}-{seed}"
    directory = RUNS / name
    training = Path(f"{directory}.jsonl")
    held_out = directory.parent / HELD_OUT_FILE
    write_rows(training, map(to_row, sets.select(arm, seed)))
    write_rows(held_out, map(to_row, sets.held_out))
    overrides = (
        *BASE,
        f"run.steps={steps}",
        f"run.seed={seed}",
        f"run.resume={str(directory.is_dir()).lower()}",
        f"dataset.path={training.relative_to(ROOT)}",
        f"dataset.held_out_path={held_out.relative_to(ROOT)}",
    )
    run_driver(overrides, RUNS, name, STEP_TIMEOUT_S * steps)
    return read_run(directory, arm, seed, environment)
