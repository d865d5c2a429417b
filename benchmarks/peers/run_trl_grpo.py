"""Child process of ``benchmarks.pipeline``: a training run by TRL's GRPOTrainer, in TRL's environment.

Runs TRL's own training loop with its own generation (transformers' ``generate``) and update. The reward function is
this project's evaluator, with the limits and the number of workers of our run.

The request is ``dataclasses.asdict`` of ``trl_trainer.PeerRequest``. The result has a row per step: seconds since the
end of the previous step, CPU seconds, tokens, seconds of generation, seconds of the reward function.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.tools.processes import measure_tree_cpu_seconds, serve
from evaluator import Evaluator, Limits, Status, extract_code, parse_problem


class TimedTrainer(GRPOTrainer):
    """GRPOTrainer that records the seconds and the real tokens (prompts and responses) of its last generation."""

    def record_generation(self, seconds: float, tokens: int) -> None:
        self.generation_s = seconds
        self.tokens = tokens

    def _generate_single_turn(self, prompt_ids: list[list[int]], *rest: Any, **named: Any) -> Any:
        began = time.perf_counter()
        responses, logprobs = super()._generate_single_turn(prompt_ids, *rest, **named)
        self.record_generation(time.perf_counter() - began, sum(map(len, prompt_ids)) + sum(map(len, responses)))
        return responses, logprobs


class EvaluatorReward:
    """Reward function for TRL: 1.0 for a passing program, 0.0 for a failing one, None after a sandbox error."""

    __name__ = "evaluator"

    def __init__(self, request: dict[str, Any], evaluator: Evaluator) -> None:
        self.problems = {row["question_id"]: parse_problem(row) for row in request["problems"]}
        self.evaluator = evaluator
        self.seconds = 0.0

    def __call__(self, completions: list[Any], question_id: list[str], **_: Any) -> list[float | None]:
        began = time.perf_counter()
        items = []
        for (message,), name in zip(completions, question_id, strict=True):
            problem = self.problems[name]
            items.append((problem, extract_code(message["content"], problem.func_name).code))
        verdicts = asyncio.run(self.evaluator.evaluate_many(items))
        self.seconds = time.perf_counter() - began
        return [None if verdict.status is Status.SANDBOX_ERROR else float(verdict.passed) for verdict in verdicts]


class StepTimer(TrainerCallback):
    """Callback that records one row per step, which is ``updates_per_step`` optimizer updates."""

    def __init__(self, updates_per_step: int, reward: EvaluatorReward) -> None:
        self.updates_per_step = updates_per_step
        self.reward = reward
        self.rows: list[dict[str, float]] = []

    def start(self, trainer: TimedTrainer) -> None:
        self.trainer = trainer
        self.last = time.perf_counter()
        self.last_cpu = measure_tree_cpu_seconds(os.getpid())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.updates_per_step:
            return
        now = time.perf_counter()
        cpu = measure_tree_cpu_seconds(os.getpid())
        phases = {"gen": self.trainer.generation_s, "reward": self.reward.seconds}
        cost = {"seconds": now - self.last, "cpu_s": cpu - self.last_cpu}
        self.rows.append({**cost, "tokens": self.trainer.tokens, **phases})
        self.last = now
        self.last_cpu = cpu


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, float]]]]:
    """Start an evaluator and build the trainer; the work is the whole training run."""
    torch.set_num_threads(request["threads"])
    limits = Limits(**request["limits"])
    with (
        tempfile.TemporaryDirectory() as folder,
        Evaluator(limits, request["workers"], adaptive_timeout=request["adaptive_timeout"]) as evaluator,
    ):
        if evaluator.missing:  # reading it also warms up a sandbox, as the start of our evaluator actors does
            print("sandbox isolation is incomplete; missing on this host:", *evaluator.missing)
        reward = EvaluatorReward(request, evaluator)
        timer = StepTimer(request["train_batch_size"] // request["mini_batch_size"], reward)
        trainer = build_trainer(request, folder, reward, timer)

        def work() -> list[dict[str, float]]:
            timer.start(trainer)
            trainer.train()
            return timer.rows

        yield work


def build_trainer(request: dict[str, Any], folder: str, reward: EvaluatorReward, timer: StepTimer) -> TimedTrainer:
    """Build a trainer with this project's hyperparameters.

    Each mini-batch is one micro-batch, and each generation batch contains all mini-batches of a step.

    Args:
        request: fields of a ``trl_trainer.PeerRequest``.
        folder: output directory of the trainer.
        reward: reward function.
        timer: callback that records the steps.
    """
    group_size = request["group_size"]
    mini_batches = request["train_batch_size"] // request["mini_batch_size"]
    settings = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        per_device_train_batch_size=request["mini_batch_size"] * group_size,
        steps_per_generation=mini_batches,
        gradient_accumulation_steps=1,
        max_steps=request["steps"] * mini_batches,
        num_generations=group_size,
        shuffle_dataset=False,
        max_completion_length=request["max_response_tokens"],
        gradient_checkpointing=False,
        loss_type="dapo",
        epsilon=0.2,
        epsilon_high=0.28,
        beta=0.0,
        temperature=request["temperature"],
        top_p=1.0,
        top_k=0,
        learning_rate=request["learning_rate"],
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=request["seed"],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        report_to="none",
    )
    return TimedTrainer(
        model=request["model"],
        args=settings,
        reward_funcs=reward,
        train_dataset=Dataset.from_list(request["prompts"]),
        callbacks=[timer],
    )


if __name__ == "__main__":
    serve(open_session)
