"""Behaviour shared by all commands: help, check of experiment names, errors printed as messages, exit statuses.

This module imports nothing heavy, so that a command responds at once. A command imports torch, Ray or transformers only
after its paths have been checked.
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
from launch.records.terminal_text import escape_control_characters

CONF = Path(__file__).parents[1] / "conf"
BROKEN_PIPE_STATUS = 141
"""Exit status if the reader of the output has gone: the status of a program that SIGPIPE ended."""


@dataclass(frozen=True, kw_only=True)
class Help:
    """Help text of a command.

    Attributes:
        command: module to run, for example "launch.driver".
        purpose: one sentence.
        usage: example command lines.
        schema: dataclass of ``conf.schema`` that holds the settings; its docstrings describe the keys.
        config: name of the command's file in ``conf/``, without suffix.
        base_configs: names of the files in ``conf/`` whose values ``config`` overrides.
        keys: dotted paths of the keys that users change, most used first.
        has_experiments: the command accepts +experiment=NAME.
    """

    command: str
    purpose: str
    usage: tuple[str, ...]
    schema: type
    config: str
    keys: tuple[str, ...]
    has_experiments: bool = False
    base_configs: tuple[str, ...] = ()

    def __str__(self) -> str:
        files = (*self.base_configs, self.config)
        values = OmegaConf.to_container(OmegaConf.merge(*(_load_values(name) for name in files)))
        lines = [f"python -m {self.command}: {self.purpose}", "", "usage:", *(f"  {line}" for line in self.usage), ""]
        lines.append("most used keys (KEY=VALUE), with their defaults:")
        for key in self.keys:
            lines += [f"  {key}={_format_value(_look_up(values, key))}", _describe_key(self.schema, key)]
        if self.has_experiments:
            lines += ["", "experiments (+experiment=NAME):", *format_experiments()]
        lines += ["", "--cfg job prints every key with its value; conf/schema.py describes every key;"]
        lines.append("README.md and docs/ have the rest. --hydra-help explains the syntax of overrides.")
        return "\n".join(lines)


def run_command(main: Callable[[], None], help_text: Help) -> None:
    """Run ``main``, the Hydra entry point of a command, or print its help.

    Ends the process with status 2 if the arguments name an unknown experiment.
    """
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(help_text)
        elif unknown := find_unknown_experiments(sys.argv[1:]) if help_text.has_experiments else []:
            available = "\n".join(format_experiments())
            print(f"error: experiment={unknown[0]}: unknown experiment; available:\n{available}", file=sys.stderr)
            sys.exit(UserError.exit_status)
        else:
            main()
        sys.stdout.flush()
    except BrokenPipeError:
        _exit_on_broken_pipe()


@contextlib.contextmanager
def report_failures(console: Console, how_to_resume: str = "resume with run.resume=true") -> Iterator[None]:
    """Print an expected error as a message and end the process.

    Exit statuses: 2 for a UserError (fix it, then start again), 1 for a RunFailed or OSError (failed while running),
    130 on request (SIGINT, SIGTERM). Any other exception is a bug and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        print_line(console, f"error: {error}", "red")
        sys.exit(error.exit_status)
    except RunFailed as error:
        print_line(console, f"stopped: {error}", "red")
        sys.exit(error.exit_status)
    except BrokenPipeError:
        _exit_on_broken_pipe()
    except OSError as error:
        print_line(console, f"stopped: {error}", "red")
        sys.exit(RunFailed.exit_status)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print_line(console, f"stopped on request; the files written so far are usable: {how_to_resume}", "yellow")
        sys.exit(130)


def print_line(console: Console, text: str, style: str | None = None) -> None:
    """Print ``text`` unchanged: brackets are no markup, ``:x:`` is no emoji, and numbers are not colored.

    Only control characters and lone surrogates, which a row of a file or a quoted message may contain, are printed as
    backslash escapes; line breaks and tabs stay.
    """
    console.print(escape_control_characters(text, keep="\n\t"), style=style, highlight=False, markup=False, emoji=False)


def describe_experiments() -> dict[str, str]:
    """Return the description of each experiment by name: the first comment line of its file in ``conf/experiment``."""
    descriptions = {}
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        comments = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
        descriptions[path.stem] = next(comment for comment in comments if not comment.startswith("@"))
    return descriptions


def format_experiments() -> list[str]:
    """Return one line per experiment: its name and description."""
    descriptions = describe_experiments()
    width = max(map(len, descriptions))
    return [f"  {name:{width}}  {text}" for name, text in descriptions.items()]


def find_unknown_experiments(arguments: list[str]) -> list[str]:
    """Return the experiments named in the command line ``arguments`` that have no file in ``conf/experiment``."""
    values = [match[1] for argument in arguments if (match := re.fullmatch(r"\+{0,2}experiment=(.*)", argument))]
    names = [name.strip(" '\"") for value in values for name in value.strip("[]").split(",")]
    return [name for name in names if name not in describe_experiments()]


def _load_values(name: str) -> Any:
    """Load a file of ``conf/``, without the keys that configure Hydra itself."""
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    return OmegaConf.create({key: value for key, value in values.items() if key not in ("defaults", "hydra")})


def _look_up(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _describe_key(schema: Any, key: str) -> str:
    """Return the docstring of a key of the dataclass ``schema``, wrapped and indented."""
    *groups, name = key.split(".")
    for group in groups:
        schema = schema.__pydantic_fields__[group].annotation
    text = " ".join(schema.__pydantic_fields__[name].description.replace("``", "`").split())
    return textwrap.fill(text, 110, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _format_value(value: Any) -> str:
    """Format a value as one types it on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _exit_on_broken_pipe() -> None:
    """End the process if its output was closed, as by ``| head``, without a traceback at the interpreter's exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE_STATUS)
