"""Supervised warm start of a causal language model on (problem, solution) rows.

    python -m launch.warm_start                                        # builds the starter policy, once
    python -m launch.warm_start model=DIR problems=P.jsonl solutions=S.jsonl output=DIR

``model=null`` trains a tokenizer and a small Qwen3 model from scratch.
"""

from __future__ import annotations

import json
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import ConfigError, WarmStartConfig
from conf.validation import parse_warm_start
from evaluator.problem import Problem, load_problems
from evaluator.surrogates import replace_surrogates
from launch.command import Help, report_failures, run_command
from launch.models.model_path import check_model_path
from launch.problems.usable_problems import make_prompt_texts_unicode

HELP = Help(
    command="launch.warm_start",
    purpose="train a model on (problem, solution) rows; without arguments, build the starter policy.",
    usage=(
        "python -m launch.warm_start",
        "python -m launch.warm_start model=DIR problems=P.jsonl solutions=S.jsonl output=DIR",
    ),
    schema=WarmStartConfig,
    config="command/warm_start",
    keys=("model", "problems", "solutions", "output", "steps", "batch_size", "learning_rate", "threads", "seed"),
)


def load_examples(config: WarmStartConfig) -> list[tuple[Problem, str]]:
    """Load (problem, program) pairs from the files ``problems`` and ``solutions`` (formats: docs/formats.md).

    Raises:
        ConfigError: a file is missing, or no solution belongs to a problem.
    """
    for key, path in (("problems", config.problems), ("solutions", config.solutions)):
        if path is None:
            raise ConfigError(f"{key} is not set: set both problems and solutions")
        if not Path(path).is_file():
            raise ConfigError(f"{key}={path}: no such file")
    problems = {problem.question_id: problem for problem in load_problems(str(config.problems)).problems}
    lines = Path(str(config.solutions)).read_bytes().split(b"\n")  # not splitlines(), which splits at U+2028, too
    rows = [json.loads(line) for line in lines if line.strip()]
    examples = [
        (make_prompt_texts_unicode(problems[row["question_id"]]), replace_surrogates(code))
        for row in rows
        if row["question_id"] in problems
        for code in row["code_list"]
    ]
    if not examples:
        raise ConfigError(f"solutions={config.solutions}: no row has the question_id of a problem in {config.problems}")
    return examples


@hydra.main(config_path="../conf/command", config_name="warm_start", version_base="1.3")
def main(values: DictConfig) -> None:
    console = Console()
    with report_failures(console):
        config = parse_warm_start(OmegaConf.to_container(values, resolve=True))
        if config.model is not None:
            check_model_path(config.model, "model")
        builds_starter = config.model is None and config.problems is None
        examples = [] if builds_starter else load_examples(config)
        # Imported only now: torch and transformers take seconds, and a wrong path is reported before.
        from launch.models.starter_policy import build_starter_policy
        from launch.models.supervised_training import make_program_example, make_progress_printer, train_supervised

        if builds_starter:
            console.print(f"starter policy: {build_starter_policy(config, console)}")
        else:
            supervised = [make_program_example(problem, code) for problem, code in examples]
            train_supervised(config, supervised, make_progress_printer(console))
            console.print(f"saved to {config.output}")


if __name__ == "__main__":
    run_command(main, HELP)
