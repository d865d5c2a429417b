"""Behaviour that all commands share: help, unknown experiments, failures as sentences, exit statuses.

Imports nothing heavy, so that a command answers at once: what needs torch, Ray or transformers is imported by a
command after its paths have been checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from rich.console import Console

from evaluator.errors import RunFailed, UserError

CONF = Path(__file__).parents[1] / "conf"
READER_GONE = 141
"""Exit status when nothing reads the output any more: that of a program that SIGPIPE ended."""


@dataclass(frozen=True, kw_only=True)
class Help:
    """Help text of a command.

    ``config``: its file in ``conf/``; ``keys``: dotted paths of the keys that people change, most used first;
    ``under``: files in ``conf/`` that ``config`` is laid over.
    """

    command: str
    purpose: str
    usage: tuple[str, ...]
    settings: type
    config: str
    keys: tuple[str, ...]
    experiments: bool = False
    under: tuple[str, ...] = ()

    def __str__(self) -> str:
        values = OmegaConf.to_container(OmegaConf.merge(*(_plain_yaml(name) for name in (*self.under, self.config))))
        lines = [f"python -m {self.command}: {self.purpose}", "", "usage:", *(f"  {line}" for line in self.usage), ""]
        lines.append("keys that people change (KEY=VALUE), with their defaults:")
        for key in self.keys:
            lines += [f"  {key}={_as_typed(_value(values, key))}", _description(self.settings, key)]
        if self.experiments:
            lines += ["", "experiments (+experiment=NAME):", *experiment_lines()]
        lines += ["", "--cfg job prints every key with its value; conf/schema.py says what each one means;"]
        lines.append("README.md and docs/ have the rest. --hydra-help is about the syntax of overrides.")
        return "\n".join(lines)


def run_command(main: Callable[[], None], help_text: Help) -> None:
    """Run ``main``, the Hydra entry point of a command, or print its help.

    Ends the process with status 2 when the arguments name an experiment that does not exist.
    """
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(help_text)
        elif unknown := unknown_experiments(sys.argv[1:]) if help_text.experiments else []:
            known = "\n".join(experiment_lines())
            print(f"error: experiment={unknown[0]}: no such experiment; there are\n{known}", file=sys.stderr)
            sys.exit(UserError.exit_status)
        else:
            main()
        sys.stdout.flush()
    except BrokenPipeError:
        _end_without_reader()


@contextlib.contextmanager
def failures_reported(console: Console) -> Iterator[None]:
    """End the process with a sentence: 2 for what can be put right before starting, 1 for a failure under way.

    130 on request. Any other exception is a bug, and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        tell(console, f"error: {error}", "red")
        sys.exit(error.exit_status)
    except RunFailed as error:
        tell(console, f"stopped: {error}", "red")
        sys.exit(error.exit_status)
    except BrokenPipeError:
        _end_without_reader()
    except OSError as error:
        tell(console, f"stopped: {error}", "red")
        sys.exit(RunFailed.exit_status)
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell(console, "stopped on request; what is written is usable, run.resume=true goes on", "yellow")
        sys.exit(130)


def tell(console: Console, text: str, style: str | None = None) -> None:
    """Print ``text`` as it is: brackets in it are no markup, numbers get no colours."""
    console.print(text, style=style, highlight=False, markup=False)


def experiments() -> dict[str, str]:
    """Descriptions of the experiments by name: the first line of comment in each file of ``conf/experiment``."""
    found = {}
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        comments = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
        found[path.stem] = next(comment for comment in comments if not comment.startswith("@"))
    return found


def experiment_lines() -> list[str]:
    """The experiments, a line each."""
    described = experiments()
    width = max(map(len, described))
    return [f"  {name:{width}}  {text}" for name, text in described.items()]


def unknown_experiments(arguments: list[str]) -> list[str]:
    """Experiments that ``arguments`` ask for and ``conf/experiment`` does not have."""
    asked = [match[1] for argument in arguments if (match := re.fullmatch(r"\+{0,2}experiment=(.*)", argument))]
    names = [name.strip(" '\"") for value in asked for name in value.strip("[]").split(",")]
    return [name for name in names if name not in experiments()]


def _plain_yaml(name: str) -> Any:
    """Values of a file in ``conf/`` without what is Hydra's own."""
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return OmegaConf.create({key: value for key, value in values.items() if key not in ("defaults", "hydra")})


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _description(settings: Any, key: str) -> str:
    """Docstring of a key of the dataclass ``settings``, indented."""
    *groups, name = key.split(".")
    for group in groups:
        settings = settings.__pydantic_fields__[group].annotation
    text = " ".join(settings.__pydantic_fields__[name].description.replace("``", "`").split())
    return textwrap.fill(text, 110, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _as_typed(value: Any) -> str:
    """A value as a person types it on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _end_without_reader() -> None:
    """End the process when its output is closed, as by ``| head``, without a traceback at the interpreter's exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(READER_GONE)
