"""Selection of the problems that an evaluation can ask: prompt and longest answer fit the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conf.schema import Config
from evaluator.problem import Problem
from launch.problems.datasets import DatasetError
from launch.problems.prompts import PromptedProblem, build_prompts, select_prompt_style


def select_fitting_problems(
    problems: Sequence[Problem], tokenizer: Any, context: int, config: Config
) -> tuple[list[PromptedProblem], str]:
    """Build the prompts, and drop problems whose prompt and longest answer do not fit the model's context.

    Training's limit on prompts does not count here, so that training and ``launch.evaluate`` ask the same problems.

    Args:
        problems: problems to evaluate on.
        tokenizer: tokenizer of the model.
        context: context length of the model in tokens.
        config: configuration of the run.

    Returns:
        The problems with their prompts, and a message about those that were dropped, or an empty string.

    Raises:
        DatasetError: no problem fits, or one does not and ``dataset.strict`` is set.
    """
    answer = config.answer_tokens
    style = select_prompt_style(config.dataset)
    kept = build_prompts(problems, tokenizer, style, context - answer, config.model.thinking)
    if len(kept) == len(problems):
        return kept, ""
    message = (
        f"{len(problems) - len(kept)} of {len(problems)} problems do not fit the model's context of {context} "
        f"tokens with an answer of {answer} tokens (evaluation.max_response_tokens)"
    )
    if not kept or config.dataset.strict:
        raise DatasetError(message)
    return kept, f"dropped: {message}"
