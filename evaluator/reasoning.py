"""Remove the reasoning of a model from its answer. Whatever stands there was not meant to be the answer.

Covered: the marks below, with which models and their chat templates surround reasoning; reasoning whose opening mark
is in the template and so not in the answer; nested marks; reasoning that does not end. Not covered: reasoning in plain
prose, which looks like any other text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = (
    r"(?P<{}>think|thinking|thoughts?|thought_process|reason|reasoning|reflection|reflect|self_reflection|analysis"
    r"|scratchpad|cot|chain_of_thought|(?:inner|internal)_(?:monologue|thoughts?))"
)
# Every quantifier is bounded or possessive, so that the search takes linear time.
_MARK = re.compile(
    rf"""
      <(?P<xml_close>/?)(?:[a-z]{{1,10}}+[:|])?{_NAME.format("xml")}(?:\s[^<>\n]{{0,80}}+)?>  # <think>, <seed:think>
    | <\|(?P<edge>/|begin_(?:of_)?|start_(?:of_)?|end_(?:of_)?)?{_NAME.format("special")}\|>  # <|begin_of_thought|>
    | <\|inner_(?P<inner>prefix|suffix)\|>
    | <\|channel\|?>[ \t]*(?P<channel>[a-z]{{1,20}}+)(?:[^<\n]{{0,80}}+<\|message\|>)?+  # harmony; <|channel>thought
    | (?P<channel_close><channel\|>)
    | ◁(?P<kimi_close>/?)think▷
    | (?P<solution><\|begin_of_solution\|>)
    | (?-i: \[(?P<magistral_close>/?)THINK\]
      | \[unused(?P<pangu>16|17)\]
      | ^(?:Here\ is|Here's)\ my\ (?P<granite>thought\ process|response):
      | \A(?P<stripped>analysis)(?=[A-Z])  # harmony without its tokens
      | (?P<stripped_close>assistantfinal)
      )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_LONGEST_PREFIX = 200  # characters of a line before an opening tag that are checked for quotes
_NEEDS_OPENING = frozenset({"granite", "stripped harmony"})  # kinds whose closing mark is ordinary text


@dataclass(frozen=True)
class _Mark:
    """Mark of a reasoning section. Only a closing mark of the same ``kind`` closes the section."""

    kind: str
    is_closing: bool


def strip_reasoning(text: str) -> tuple[str, bool]:
    """Return the text outside of reasoning sections, and whether the text ends inside one.

    Everything before a closing mark without an opening one is reasoning too: the chat template opened it.
    """
    parts: list[str] = []
    begin = 0
    section: str | None = None
    for match in _MARK.finditer(text):
        mark = _classify(match)
        if mark.is_closing:
            # Text "assistantfinal" alone closes nothing, and </reflection> does not close <think>.
            if section == mark.kind or (section is None and mark.kind not in _NEEDS_OPENING):
                parts = [] if section is None else parts
                begin = match.end()
                section = None
        elif section is None and not _is_quoted(text, match):
            parts.append(text[begin : match.start()])
            section = mark.kind
    if section is None:
        parts.append(text[begin:])
    return "\n".join(part for part in parts if part.strip()), section is not None


def _classify(match: re.Match[str]) -> _Mark:
    if match["xml"]:
        return _Mark(_get_family(match["xml"]), bool(match["xml_close"]))
    if match["special"]:
        return _Mark(_get_family(match["special"]), (match["edge"] or "").lower().startswith(("/", "end")))
    if match["channel"]:  # harmony: all channels but the final one are for reasoning and for tools
        return _Mark("channel", match["channel"].lower() == "final")
    if match["inner"]:
        return _Mark("inner", match["inner"].lower() == "suffix")
    if match["pangu"]:
        return _Mark("pangu", match["pangu"] == "17")
    if match["granite"]:
        return _Mark("granite", match["granite"] == "response")
    if match["stripped"] or match["stripped_close"]:
        return _Mark("stripped harmony", bool(match["stripped_close"]))
    if match["channel_close"]:
        return _Mark("channel", True)
    if match["solution"]:  # ends an unfinished <|begin_of_thought|>
        return _Mark("think", True)
    return _Mark("think", bool(match["kimi_close"] or match["magistral_close"]))


def _get_family(name: str) -> str:
    """Return the first letters of a mark's name, because models mix <think> and </thinking>."""
    name = name.lower()
    return "think" if name.startswith(("think", "thought")) else name[:6]


def _is_quoted(text: str, match: re.Match[str]) -> bool:
    """Return True if an opening tag such as <think> is in a string of a program, or quoted in prose."""
    if not match["xml"]:
        return False  # special tokens are never part of a program
    line_start = text.rfind("\n", max(0, match.start() - _LONGEST_PREFIX), match.start()) + 1
    return any(quote in text[max(line_start, match.start() - _LONGEST_PREFIX) : match.start()] for quote in "\"'`")
