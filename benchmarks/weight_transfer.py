"""Measure weight transfer: transports against a memcpy, and a publication against a reload without any transfer.

    python -m benchmarks.weight_transfer [--rounds N] [--threads N] [--bucket-mb N] [--no-engines]

The weights are random, of SmolLM2-135M's shape, in float32. Everything that is compared runs in turn, in one run, and
medians are reported.

Transport: sender and receivers are processes of one thread each, without learner or engine. All bytes go from the
sender's tensors into the receiver's memory; the memcpy copies the same tensors within a process. All memory is
allocated before. With two receivers, both must have received everything; the sender's CPU seconds are the cost of the
second one, whatever cores the receivers have.

Publication: a learner rank and vLLM engines in Ray actors, of one thread each by default. The time is that from the
call of ``publish`` to the last engine's acknowledgement: generation pauses, weights are transferred with checksums and
loaded as they arrive, the prefix cache is dropped, generation resumes. The reload it is compared with is vLLM's, of the
same tensors from the engine's own memory.
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
from actors.weights.sender import SenderSettings, WeightSender
from actors.weights.transfer import TransferSettings, open_transfer
from actors.weights.transports import TRANSPORTS
from benchmarks.tools.reloading_engine import ReloadingGenerator
from benchmarks.tools.update_workload import SMOLLM2, build_smollm2, save_model
from benchmarks.tools.weight_receivers import ReceiverProcess, start_receiver
from launch.cluster.learner_settings import make_learner_settings
from launch.composition import compose_config

DEADLINE_S = 120.0
HOST = "127.0.0.1"
MEMCPY = "memcpy"
UNCHECKED = "shared memory"
CHECKED = "shared memory, checksums"
TWO_RECEIVERS = "shared memory, checksums, two receivers"
GLOO = "gloo, checksums"
MEASURED_TRANSPORTS: dict[str, tuple[Backend, bool, int]] = {
    UNCHECKED: ("shared_memory", False, 1),
    CHECKED: ("shared_memory", True, 1),
    TWO_RECEIVERS: ("shared_memory", True, 2),
    GLOO: ("gloo", True, 1),
}
"""Backend, use of checksums and number of receivers of each transport."""
RELOAD = "reload"
ONE_ENGINE = "publication, one engine"
TWO_ENGINES = "publication, two engines"

progress = Console(stderr=True, highlight=False, soft_wrap=True)
Seconds = dict[str, list[float]]
"""Seconds of each round, by name of the transport or publication."""


@dataclass(frozen=True)
class OpenTransport:
    """Open transport: a sender in this process and its receiver processes."""

    sender: WeightSender
    receiver_groups: list[ReceiverGroup]
    receivers: list[ReceiverProcess]

    def send(self, tensors: Sequence[tuple[str, Tensor]], version: int) -> None:
        """Send all (name, tensor) pairs to all receivers, and wait until these have them."""
        for receiver in self.receivers:
            receiver.start_receiving(version)
        result = self.sender.send(iter(tensors), version, self.receiver_groups, self.receiver_groups)
        if result.failed:
            raise RuntimeError(f"receivers failed: {result.failed}")
        for receiver in self.receivers:
            receiver.wait_for_answer()


@contextmanager
def open_transport(
    layout: WeightLayout, backend: Backend, bucket_mb: int, checksum: bool, receiver_count: int
) -> Iterator[OpenTransport]:
    """Open a transport with a sender in this process, and close it when the block is left.

    Args:
        layout: names, shapes and dtype of the tensors.
        backend: backend of the transport.
        bucket_mb: size of a bucket in MiB.
        checksum: send checksums and check them.
        receiver_count: number of receiver processes.
    """
    settings = SenderSettings(
        backend=backend,
        dtype="float32",
        bucket_bytes=bucket_mb * 2**20,
        checksum=checksum,
        deadline_s=DEADLINE_S,
    )
    sender = WeightSender(layout, settings, TRANSPORTS[settings.backend].open_send_buffers(settings.bucket_bytes, HOST))
    endpoint = sender.send_buffers.endpoint
    names = [f"receiver {index}" for index in range(receiver_count)]
    with ExitStack() as stack:
        stack.callback(sender.close)
        receivers = [
            stack.enter_context(
                start_receiver(
                    Connection(
                        endpoint=endpoint,
                        receiver=name,
                        host=HOST,
                        layout=layout,
                        capacity=settings.bucket_bytes,
                        deadline_s=DEADLINE_S,
                        keep_digests=False,
                    )
                )
            )
            for name in names
        ]
        yield OpenTransport(sender, [ReceiverGroup(endpoint, (name,)) for name in names], receivers)


def time_call(work: Callable[[], None]) -> float:
    """Return the wall seconds of ``work``."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_transports(bucket_mb: int, rounds: int) -> tuple[Seconds, Seconds]:
    """Time the transfer of the model by every transport and by memcpy; the first round is a warm-up.

    Args:
        bucket_mb: size of a bucket in MiB.
        rounds: rounds that count.

    Returns:
        Wall seconds, and CPU seconds of the sending process.
    """
    torch.set_num_threads(1)
    tensors = [(name, parameter.detach()) for name, parameter in build_smollm2().named_parameters()]
    layout = WeightLayout(
        tuple(name for name, _ in tensors), tuple(tuple(tensor.shape) for _, tensor in tensors), torch.float32
    )
    destinations = [torch.zeros_like(tensor) for _, tensor in tensors]

    def copy(version: int) -> None:
        for destination, (_, tensor) in zip(destinations, tensors, strict=True):
            destination.copy_(tensor)

    with ExitStack() as stack:
        transfers: dict[str, Callable[[int], None]] = {MEMCPY: copy}
        for name, (backend, checksum, receiver_count) in MEASURED_TRANSPORTS.items():
            transport = stack.enter_context(open_transport(layout, backend, bucket_mb, checksum, receiver_count))
            transfers[name] = partial(transport.send, tensors)
        wall_s: Seconds = {name: [] for name in transfers}
        cpu_s: Seconds = {name: [] for name in transfers}
        for version in range(rounds + 1):
            for name, transfer in transfers.items():
                cpu_before = time.process_time()
                seconds = time_call(partial(transfer, version))
                if version:
                    wall_s[name].append(seconds)
                    cpu_s[name].append(time.process_time() - cpu_before)
    return wall_s, cpu_s


def build_generator_settings(path: Path, threads: int) -> GeneratorSettings:
    """Build the settings of an engine for the model at ``path``, with a small KV cache."""
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
    """Time a reload in an engine, a publication to one engine and a publication to two; the first round is a warm-up.

    Args:
        path: checkpoint.
        bucket_mb: size of a bucket in MiB.
        rounds: rounds that count.
        threads: threads of the learner and of each engine.

    Returns:
        Wall seconds of each.
    """
    settings = build_generator_settings(path, threads)
    actor_class: Any = ray.remote(ReloadingGenerator).options(
        num_cpus=0, max_concurrency=8, runtime_env={"env_vars": engine_environment(settings)}
    )
    engines = {name: actor_class.remote() for name in ("engine 0", "engine 1")}
    learner = LearnerGroup(["DEFAULT"], 0, threads, make_learner_settings(compose_config(), path))
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
        wall_s: Seconds = {RELOAD: [], ONE_ENGINE: [], TWO_ENGINES: []}
        for version in range(rounds + 1):
            round_s = {RELOAD: await engines["engine 0"].reload_held_weights.remote()}
            for name, receivers in ((ONE_ENGINE, ["engine 0"]), (TWO_ENGINES, list(engines))):
                started = time.perf_counter()
                publication = await transfer.publish(version, receivers)
                round_s[name] = time.perf_counter() - started
                if publication.dropped:
                    raise RuntimeError(f"publication {version} failed for engines: {publication.dropped}")
            if version:
                for name, seconds in round_s.items():
                    wall_s[name].append(seconds)
        return wall_s
    finally:
        stop_all([*engines.values(), *learner.actors])


def print_table(title: str, wall_s: Seconds, gigabytes: float, base: str, cpu_s: Seconds | None = None) -> None:
    """Print a table of median times.

    Args:
        title: title.
        wall_s: wall seconds of each round, by row.
        gigabytes: size of the weights.
        base: row that the other rows are divided by.
        cpu_s: CPU seconds of the sending process, if known.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for column in ("median s", "range s", "GB/s", f"median / {base}", *(["sender CPU s"] if cpu_s else [])):
        table.add_column(column, justify="right")
    for name, seconds in wall_s.items():
        median = statistics.median(seconds)
        table.add_row(
            name,
            f"{median:.3f}",
            f"{min(seconds):.3f} to {max(seconds):.3f}",
            f"{gigabytes / median:.2f}",
            f"{median / statistics.median(wall_s[base]):.2f}",
            *([f"{statistics.median(cpu_s[name]):.3f}"] if cpu_s else []),
        )
    Console(width=120).print(table)


def median_ratio(seconds: Seconds, name: str, base: str) -> float:
    """Divide the median of ``name`` by that of ``base``, rounded to 3 digits."""
    return round(statistics.median(seconds[name]) / statistics.median(seconds[base]), 3)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="measured rounds, after a warm-up round")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="threads of the learner and of each engine")] = 1,
    bucket_mb: Annotated[int, typer.Option(min=1, help="size of a bucket in MiB")] = 32,
    engines: Annotated[bool, typer.Option(help="also measure publications to engines")] = True,
) -> None:
    """Measure weight transfer at the shape of SmolLM2-135M."""
    gigabytes = sum(4 * parameter.numel() for parameter in build_smollm2().parameters()) / 1e9
    progress.print(f"{gigabytes:.2f} GB of weights, buckets of {bucket_mb} MiB")
    wall_s, cpu_s = time_transports(bucket_mb, rounds)
    print_table("Time to send all weights, by transport", wall_s, gigabytes, MEMCPY, cpu_s)
    summary = {
        "transport_ratio_vs_memcpy": median_ratio(wall_s, UNCHECKED, MEMCPY),
        "checked_ratio_vs_memcpy": median_ratio(wall_s, CHECKED, MEMCPY),
        "second_receiver_ratio": median_ratio(wall_s, TWO_RECEIVERS, CHECKED),
        "second_receiver_sender_cpu_ratio": median_ratio(cpu_s, TWO_RECEIVERS, CHECKED),
        "gloo_ratio_vs_memcpy": median_ratio(wall_s, GLOO, MEMCPY),
        "gb_per_s": round(gigabytes / statistics.median(wall_s[CHECKED]), 3),
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
        print_table("Time to publish all weights to engines", publications, gigabytes, RELOAD)
        summary |= {
            "end_to_end_ratio_vs_reload": median_ratio(publications, ONE_ENGINE, RELOAD),
            "second_generator_ratio": median_ratio(publications, TWO_ENGINES, ONE_ENGINE),
        }
    print(json.dumps({**summary, "threads": threads, "rounds": rounds, "bucket_mb": bucket_mb}))


if __name__ == "__main__":
    typer.run(main)
