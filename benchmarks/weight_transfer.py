"""The transfer of weights: its transports against a memcpy, and a publication against a reload without any transfer.

    python -m benchmarks.weight_transfer [--rounds N] [--threads N] [--bucket-mb N] [--no-engines]

The weights are random, of SmolLM2-135M's shape, float32. Everything that is compared runs in turn, in one run, and
medians are given.

Transport: sender and receivers are processes of one thread each, without learner or engine. All bytes go from the
sender's tensors into memory of the receiver; the copy it is compared with goes from the same tensors into memory of the
same process. All memory is in place before. With two receivers, both must have everything; the sender's CPU seconds say
what a second one costs it, whatever cores the receivers have.

Publication: a learner rank and vLLM engines in Ray actors, of one thread each unless told otherwise. From the call of
``publish`` to the last engine's acknowledgement: generation pauses, weights travel checked and are loaded as they come,
the prefix cache is dropped, generation goes on. It is compared with vLLM's reload of the same tensors from the engine's
own memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import ray
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from actors.generators.actor import GeneratorSettings, engine_environment
from actors.learner_group import LearnerGroup
from actors.lifecycle import stop_all
from actors.weights.layout import WeightLayout
from actors.weights.links import Backend, ReceiverGroup
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings, WeightSender, open_send_buffers
from actors.weights.transfer import TransferSettings, open_transfer
from benchmarks.tools.reloading_engine import ReloadingGenerator
from benchmarks.tools.update_workload import SMOLLM2, save_model, untrained_smollm2
from benchmarks.tools.weight_receivers import Receiver, receiver
from launch.cluster.learner_settings import learner_settings
from launch.composition import compose_config

DEADLINE_S = 120.0
HOST = "127.0.0.1"
COPY = "memcpy"
PLAIN = "shared memory"
CHECKED = "checked"
TWO = "checked, two receivers"
GLOO = "gloo, checked"
TRANSPORTS: dict[str, tuple[Backend, bool, int]] = {
    PLAIN: ("shared_memory", False, 1),
    CHECKED: ("shared_memory", True, 1),
    TWO: ("shared_memory", True, 2),
    GLOO: ("gloo", True, 1),
}
"""Transport, with checksums or without, receivers."""
RELOAD = "reload"
ONE_ENGINE = "publication"
TWO_ENGINES = "publication, two engines"

progress = Console(stderr=True, highlight=False, soft_wrap=True)
Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Wire:
    """One transport with its receivers, ready."""

    sender: WeightSender
    receiver_groups: list[ReceiverGroup]
    receivers: list[Receiver]

    def move(self, tensors: Sequence[tuple[str, Tensor]], version: int) -> None:
        """All ``tensors`` into the memory of all receivers."""
        for one in self.receivers:
            one.begin(version)
        result = self.sender.send(iter(tensors), version, self.receiver_groups, self.receiver_groups)
        if result.failed:
            raise RuntimeError(f"receivers failed: {result.failed}")
        for one in self.receivers:
            one.wait()


@contextmanager
def wire(layout: WeightLayout, backend: Backend, bucket_mb: int, checksum: bool, count: int) -> Iterator[Wire]:
    """A sender in this process and ``count`` receivers."""
    settings = SenderSettings(
        backend=backend,
        dtype="float32",
        bucket_bytes=bucket_mb * 2**20,
        checksum=checksum,
        deadline_s=DEADLINE_S,
    )
    sender = WeightSender(layout, settings, open_send_buffers(settings, HOST))
    endpoint = sender.send_buffers.endpoint
    names = [f"receiver {index}" for index in range(count)]
    with ExitStack() as stack:
        stack.callback(sender.close)
        receivers = [
            stack.enter_context(
                receiver(
                    Connection(
                        endpoint=endpoint,
                        receiver=name,
                        host=HOST,
                        layout=layout,
                        capacity=settings.bucket_bytes,
                        deadline_s=DEADLINE_S,
                        compare=False,
                    )
                )
            )
            for name in names
        ]
        yield Wire(sender, [ReceiverGroup(endpoint, (name,)) for name in names], receivers)


def timed(work: Callable[[], None]) -> float:
    """Wall seconds of ``work``."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_transports(bucket_mb: int, rounds: int) -> tuple[Seconds, Seconds]:
    """Wall seconds to move the model, by transport, and CPU seconds of the sender; the first round does not count."""
    torch.set_num_threads(1)
    tensors = [(name, parameter.detach()) for name, parameter in untrained_smollm2().named_parameters()]
    layout = WeightLayout(
        tuple(name for name, _ in tensors), tuple(tuple(tensor.shape) for _, tensor in tensors), torch.float32
    )
    places = [torch.zeros_like(tensor) for _, tensor in tensors]

    def copy(version: int) -> None:
        for place, (_, tensor) in zip(places, tensors, strict=True):
            place.copy_(tensor)

    with ExitStack() as stack:
        works: dict[str, Callable[[int], None]] = {COPY: copy}
        for name, (backend, checksum, count) in TRANSPORTS.items():
            works[name] = partial(stack.enter_context(wire(layout, backend, bucket_mb, checksum, count)).move, tensors)
        found: Seconds = {name: [] for name in works}
        spent: Seconds = {name: [] for name in works}
        for version in range(rounds + 1):
            for name, work in works.items():
                used = time.process_time()
                seconds = timed(partial(work, version))
                if version:
                    found[name].append(seconds)
                    spent[name].append(time.process_time() - used)
    return found, spent


def generator_settings(path: Path, threads: int) -> GeneratorSettings:
    """An engine of the model, with a small cache."""
    return GeneratorSettings(
        model_path=str(path),
        dtype="float32",
        device="cpu",
        tensor_parallel=1,
        max_model_tokens=256,
        max_sequences=8,
        kv_cache_gib=0.25,
        gpu_memory_fraction=0.5,
        threads=threads,
        seed=0,
    )


async def time_publications(path: Path, bucket_mb: int, rounds: int, threads: int) -> Seconds:
    """Seconds of a reload in an engine, of a publication to it, and to two; the first of each is not counted."""
    settings = generator_settings(path, threads)
    role: Any = ray.remote(ReloadingGenerator).options(
        num_cpus=0, max_concurrency=8, runtime_env={"env_vars": engine_environment(settings)}
    )
    engines = {name: role.remote() for name in ("engine 0", "engine 1")}
    learner = LearnerGroup(["DEFAULT"], 0, threads, learner_settings(compose_config(), path))
    try:
        starts = [learner.start(600.0, None), *(engine.start.remote(settings) for engine in engines.values())]
        await asyncio.wait_for(asyncio.gather(*starts), 600.0)
        await engines["engine 0"].hold_weights.remote(str(path / "model.safetensors"))
        transfer = await open_transfer(
            learner.actors,
            engines,
            "auto",
            ("cpu", "cpu"),
            TransferSettings(dtype="float32", bucket_mb=bucket_mb, checksum=True, deadline_s=DEADLINE_S),
        )
        found: Seconds = {RELOAD: [], ONE_ENGINE: [], TWO_ENGINES: []}
        for number in range(rounds + 1):
            seconds = {RELOAD: await engines["engine 0"].reload_held.remote()}
            for name, to in ((ONE_ENGINE, ["engine 0"]), (TWO_ENGINES, list(engines))):
                started = time.perf_counter()
                publication = await transfer.publish(number, to)
                seconds[name] = time.perf_counter() - started
                if publication.dropped:
                    raise RuntimeError(f"dropped: {publication.dropped}")
            if number:
                for name, value in seconds.items():
                    found[name].append(value)
        return found
    finally:
        stop_all([*engines.values(), *learner.actors])


def print_table(title: str, found: Seconds, gigabytes: float, base: str, spent: Seconds | None = None) -> None:
    """Medians, their range, the ratio to ``base``, and what the sender has ``spent``."""
    table = Table(title=title, title_justify="left")
    for column in ("", "seconds", "range", "GB/s", f"over {base}", *(["sender's CPU s"] if spent else [])):
        table.add_column(column, justify="left" if not column else "right")
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        table.add_row(
            name,
            f"{middle:.3f}",
            f"{min(seconds):.3f} to {max(seconds):.3f}",
            f"{gigabytes / middle:.2f}",
            f"{middle / statistics.median(found[base]):.2f}",
            *([f"{statistics.median(spent[name]):.3f}"] if spent else []),
        )
    Console(width=120).print(table)


def ratio(found: Seconds, name: str, base: str) -> float:
    """Of two medians."""
    return round(statistics.median(found[name]) / statistics.median(found[base]), 3)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="of everything, after one that does not count")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="threads of the learner and of an engine")] = 1,
    bucket_mb: Annotated[int, typer.Option(min=1, help="MiB of a bucket")] = 32,
    engines: Annotated[bool, typer.Option(help="also publish to engines")] = True,
) -> None:
    """Measure the transfer of weights at the 135M shape."""
    gigabytes = sum(4 * parameter.numel() for parameter in untrained_smollm2().parameters()) / 1e9
    progress.print(f"{gigabytes:.2f} GB of weights, buckets of {bucket_mb} MiB")
    transports, spent = time_transports(bucket_mb, rounds)
    print_table("Transport", transports, gigabytes, COPY, spent)
    figures = {
        "transport_ratio_vs_memcpy": ratio(transports, PLAIN, COPY),
        "checked_ratio_vs_memcpy": ratio(transports, CHECKED, COPY),
        "second_receiver_ratio": ratio(transports, TWO, CHECKED),
        "second_receiver_sender_cpu_ratio": ratio(spent, TWO, CHECKED),
        "gloo_ratio_vs_memcpy": ratio(transports, GLOO, COPY),
        "gb_per_s": round(gigabytes / statistics.median(transports[CHECKED]), 3),
    }
    if engines:
        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
        ray.init(
            address="local", num_cpus=2, object_store_memory=2**27, include_dashboard=False, logging_level=logging.ERROR
        )
        with tempfile.TemporaryDirectory() as folder:
            path = save_model(SMOLLM2, Path(folder, "model")).path
            publications = asyncio.run(time_publications(path, bucket_mb, rounds, threads))
        ray.shutdown()
        print_table("Publication", publications, gigabytes, RELOAD)
        figures |= {
            "end_to_end_ratio_vs_reload": ratio(publications, ONE_ENGINE, RELOAD),
            "second_generator_ratio": ratio(publications, TWO_ENGINES, ONE_ENGINE),
        }
    print(json.dumps({**figures, "threads": threads, "rounds": rounds, "bucket_mb": bucket_mb}))


if __name__ == "__main__":
    typer.run(main)
