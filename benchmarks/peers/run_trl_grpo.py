"""TRL's GRPOTrainer end to end; a child of ``benchmarks.pipeline`` in the peer's environment.

Its own training loop with its own generation (transformers' ``generate``) and its own update; the reward function is
this project's evaluator, as many programs at a time and with the limits that our run has. The request is
``dataclasses.asdict`` of ``trl_side.PeerRequest``; the result holds one row a step: seconds from the end of the step
before, CPU seconds, tokens, seconds of generation and of the reward.
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

from benchmarks.tools.processes import serve, tree_cpu_seconds
from evaluator import Evaluator, Limits, Status, extract_code, parse_problem


class TimedTrainer(GRPOTrainer):
    """Notes what its generation took and how many real tokens it dealt with."""

    def note_generation(self, seconds: float, tokens: int) -> None:
        self.generation_s = seconds
        self.tokens = tokens

    def _generate_single_turn(self, prompt_ids: list[list[int]], *rest: Any, **named: Any) -> Any:
        began = time.perf_counter()
        responses, logprobs = super()._generate_single_turn(prompt_ids, *rest, **named)
        self.note_generation(time.perf_counter() - began, sum(map(len, prompt_ids)) + sum(map(len, responses)))
        return responses, logprobs


class Reward:
    """TRL's reward function: 1.0 where a completion's program passes, None where the sandbox failed."""

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
        return [None if one.status is Status.SANDBOX_ERROR else float(one.passed) for one in verdicts]


class StepClock(TrainerCallback):
    """A row for each ``updates`` optimizer updates, which make one step."""

    def __init__(self, updates: int, reward: Reward) -> None:
        self.updates = updates
        self.reward = reward
        self.rows: list[dict[str, float]] = []

    def begin(self, trainer: TimedTrainer) -> None:
        self.trainer = trainer
        self.last = time.perf_counter()
        self.last_cpu = tree_cpu_seconds(os.getpid())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.updates:
            return
        now = time.perf_counter()
        cpu = tree_cpu_seconds(os.getpid())
        phases = {"gen": self.trainer.generation_s, "reward": self.reward.seconds}
        used = {"seconds": now - self.last, "cpu_s": cpu - self.last_cpu}
        self.rows.append({**used, "tokens": self.trainer.tokens, **phases})
        self.last = now
        self.last_cpu = cpu


@contextmanager
def session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, float]]]]:
    torch.set_num_threads(request["threads"])
    limits = Limits(**request["limits"])
    with (
        tempfile.TemporaryDirectory() as folder,
        Evaluator(limits, request["workers"], adaptive_timeout=request["adaptive_timeout"]) as evaluator,
    ):
        if evaluator.missing:  # also warms a sandbox, as the start of our evaluators does
            print("fences missing:", *evaluator.missing)
        reward = Reward(request, evaluator)
        clock = StepClock(request["train_batch_size"] // request["mini_batch_size"], reward)
        trainer = build_trainer(request, folder, reward, clock)

        def work() -> list[dict[str, float]]:
            clock.begin(trainer)
            trainer.train()
            return clock.rows

        yield work


def build_trainer(request: dict[str, Any], folder: str, reward: Reward, clock: StepClock) -> TimedTrainer:
    """This project's hyperparameters; a mini-batch is one micro-batch, a generation batch has all of a step's."""
    group = request["group_size"]
    mini_batches = request["train_batch_size"] // request["mini_batch_size"]
    settings = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        per_device_train_batch_size=request["mini_batch_size"] * group,
        steps_per_generation=mini_batches,
        gradient_accumulation_steps=1,
        max_steps=request["steps"] * mini_batches,
        num_generations=group,
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
        callbacks=[clock],
    )


if __name__ == "__main__":
    serve(session)
