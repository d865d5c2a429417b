"""Model card of an exported checkpoint: base model, results, prompt format, configuration and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import yaml

from conf.schema import Config

Row = Mapping[str, float]

SELECTION_NOTE = (
    "This checkpoint was selected on these problems, as the best of its run: its result on them is biased upwards. "
    "Compare models on problems that no checkpoint was selected on."
)


def format_model_card(
    config: Config,
    step: int,
    dtype: str,
    rows: Sequence[Row],
    environment: Mapping[str, object],
    *,
    is_best: bool,
) -> str:
    """Return the model card as Markdown, with the front matter that model hubs read.

    Args:
        config: configuration of the run.
        step: step of the exported checkpoint.
        dtype: dtype of the exported weights.
        rows: rows of the run's metrics.jsonl.
        environment: content of the run's environment.json.
        is_best: True if the checkpoint was selected because its evaluation is the best of the run.
    """
    front = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["code", "reinforcement-learning", "grpo"],
        # base_model must be a hub id; a local path means nothing on another machine.
        **({"base_model": config.model.path} if _is_hub_id(config.model.path) else {}),
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {config.run.name}, step {step}",
        f"`{config.model.path}`, trained for {step} steps of MicroCoder-GRPO (arXiv 2603.07777) on "
        f"`{config.dataset.path or config.dataset.name}`. Weights in {dtype}. The licence is that of the base model.",
        "## Results\n\n" + "\n\n".join([*_format_evaluation(config, step, rows, is_best), *_format_reward(step, rows)]),
        "## Prompt\n\nThe chat template of the tokenizer, with one user message: the problem's statement, then what "
        "kind of answer is expected. `generation_config.json` samples as the run's evaluation did.",
        f"## Configuration\n\n```yaml\n{yaml.safe_dump(asdict(config), sort_keys=False)}```",
        f"## Environment\n\n```yaml\n{yaml.safe_dump(dict(environment), sort_keys=False)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _is_hub_id(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/"))


def _format_evaluation(config: Config, step: int, rows: Sequence[Row], is_best: bool) -> list[str]:
    """Return a table of pass@1 before training and of this checkpoint, by platform and difficulty."""
    evaluation = config.evaluation
    before, after = ({**next((row for row in rows if row["step"] == at), {})} for at in (0, step))
    names = [name for name in after if name.startswith("evaluation/") and name.endswith("/pass@1")]
    if not names:
        return ["This checkpoint was not evaluated in its run."]
    lines = [
        f"pass@1 on the run's evaluation problems, {evaluation.samples} answers each at temperature "
        f"{evaluation.temperature:g}, top-p {evaluation.top_p:g}:",
        "",
        "| problems | before training | this checkpoint |",
        "|---|---|---|",
    ]
    for name in names:
        _, dataset, platform, difficulty, _ = name.split("/")
        start = f"{before[name]:.3f}" if name in before else "-"
        lines.append(f"| {dataset}, {platform}, {difficulty} | {start} | {after[name]:.3f} |")
    table = "\n".join(lines)
    return [table, SELECTION_NOTE] if is_best else [table]


def _format_reward(step: int, rows: Sequence[Row]) -> list[str]:
    rewards = [row["critic/rewards/mean"] for row in rows if "critic/rewards/mean" in row and row["step"] < step]
    if not rewards:
        return []
    size = max(1, len(rewards) // 4)
    first, last = (float(np.mean(quarter)) for quarter in (rewards[:size], rewards[-size:]))
    steps = f"{size} of {len(rewards)} steps"
    return [f"Mean training reward: {first:.3f} over the first {steps}, {last:.3f} over the last."]
