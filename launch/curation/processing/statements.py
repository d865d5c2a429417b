"""Cleaning of statements: markup that sites and sets left in them becomes plain text with LaTeX or Markdown.

Repaired are HTML, entities, broken LaTeX, exponents that lost their sign, invisible characters, and instructions to a
model. Whatever is not certainly damage stays as it is.
"""

from __future__ import annotations

import html
import re

# --- instructions of other sets -------------------------------------------------------------------------------------

_PREFIXES = re.compile(
    "|".join(
        (
            r"Please solve the programming task below using a self-contained code snippet in a markdown code block\.?",
            r"Please provide a self-contained Python script that solves the following problem[^\n]*:",
            r"Solve the following (?:coding|programming) problem(?: using the programming language python)? ?[:.]",
            r"(?:Write|Generate) an? [^\n.]{0,60}\bthe following (?:coding|programming) problem[^\n]{0,40}:",
            r"You are an expert [^\n]*?\bpasses all tests\.",
            r"You will NOT return anything except for the program\.?",
            r"You will be given a competitive programming problem\.[^\n]*\n",
            r"#{0,6} ?(?:Question|Problem|Problem statement|Problem description) ?: ?\n",
        )
    ),
    re.IGNORECASE,
)
_SUFFIXES = re.compile(
    "(?:"
    + "|".join(
        (
            r"The input will be (?:given via )?stdin and you should print your solution to stdout\.?",
            r"Now solve the problem and return the code\.?",
            r"Use (?:Call-Based|Standard Input) format\.?",
            r"#{0,6} ?Format: [^\n]*\n+```python\n(?:(?!```).)*```",
            r"#{1,6} ?Answer ?:(?: ?\(use the provided format with backticks\))?",
            r"^ANSWER:",
        )
    )
    + r")\Z",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)

_DOCSTRING = re.compile(r'"""(?:(?!""").)*"""\Z', re.DOTALL)  # the prompts of MBPP+

# --- HTML -----------------------------------------------------------------------------------------------------------

_NAMES = (
    "p|br|div|span|pre|code|ul|ol|li|strong|b|i|em|u|s|sub|sup|var|table|tbody|thead|tr|td|th|h[1-6]|font|center"
    "|section|article|img|a|tt|hr|blockquote|small|big|nl|abbr"
)
_TAG = re.compile(rf"<(/?)({_NAMES})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_SCRIPT = re.compile(r"<(sup|sub)(?:\s[^<>]*)?>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_LINE_TAGS = {"br", "tr", "nl"}
_PARAGRAPH_TAGS = {"p", "div", "pre", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section", "blockquote"}
_ABOUT_MARKUP = re.compile(r"\b(?:html|xml|xhtml|bbcode)\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z][a-z0-9]{1,7});", re.IGNORECASE)

# --- characters and LaTeX ------------------------------------------------------------------------------------------

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
# What a parser of escapes makes of LaTeX commands: \frac, \vdots, \beta, \alpha; \times, \text, \theta, \tau, \right
_ESCAPED = {"\f": "\\f", "\v": "\\v", "\b": "\\b", "\a": "\\a"}
_ESCAPED_COMMAND = re.compile("[\f\v\b\a](?=[a-z])")
_TAB_COMMAND = re.compile(r"\t(?=(?:imes|heta|au|riangle)(?![a-z])|ext(?:bf|it|tt|rm)?\{)")
_RETURN_COMMAND = re.compile(r"\r(?=(?:ight(?:arrow)?|floor|ceil|angle)\b)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_GLUED_SAMPLE = re.compile(r"(?<=[^\s#*-])[ \t]*(?=Sample (?:Input|Output) \d+:?[ \t]*(?:\n|\Z))")
# LeetCode's "10<sup>5</sup>" where only the tags were removed: "<= 105", "2 * 105", "109 + 7".
_LOST_EXPONENT = re.compile(r"(?P<before>(?:<=|≤|\*)[ ]?-?|^-)10(?P<exponent>[3-9]|1[0-8])\b(?![.,]?\d)", re.MULTILINE)
_MODULUS = re.compile(r"\b109(?=[ ]?\+[ ]?7\b)")
_TOLERANCE = re.compile(r"\b10-(?P<exponent>[4-9])(?=[ ]of the actual)")


def clean_statement(text: str, platform: str = "other") -> str:
    """Return the statement as plain text with LaTeX or Markdown. Cleaning it again changes nothing.

    Args:
        text: the statement as published.
        platform: site of the problem; LeetCode's constraints are repaired in a way that would harm others.
    """
    previous = None
    while text != previous:  # an escaped tag is a tag after the first round
        previous = text
        text = _repair_characters(text)
        text = _remove_instructions(text)
        text = _convert_html(text)
        text = _repair_latex(text)
        if platform == "leetcode":
            text = _restore_exponents(text)
        text = _normalize_lines(text)
    return text


def _repair_characters(text: str) -> str:
    text = _ESCAPED_COMMAND.sub(lambda match: _ESCAPED[match[0]], text)
    text = _TAB_COMMAND.sub(r"\\t", text)
    text = _RETURN_COMMAND.sub(r"\\r", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", _SPACES.sub(" ", _INVISIBLE.sub("", text)))


def _remove_instructions(text: str) -> str:
    """Remove instructions to a model, and the quotes of a statement that is a docstring."""
    text = text.strip()
    while match := _PREFIXES.match(text):
        text = text[match.end() :].lstrip()
    while match := _SUFFIXES.search(text):
        text = text[: match.start()].rstrip()
    return text[3:-3].strip() if _DOCSTRING.match(text) else text


def _convert_html(text: str) -> str:
    """Convert tags and entities, unless the statement is about them or has none of the tags' ends."""
    if _ABOUT_MARKUP.search(_TAG.sub(" ", text)):
        return text
    if any(match[1] or match[2].lower() in ("br", "img", "p") for match in _TAG.finditer(text)):
        text = _SCRIPT.sub(_write_script, text)
        text = _TAG.sub(_write_tag, text)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _write_script(match: re.Match[str]) -> str:
    content = _TAG.sub("", match[2]).strip()
    mark = "^" if match[1].lower() == "sup" else "_"
    return f"{mark}{content}" if len(content) == 1 or content.isdigit() else f"{mark}{{{content}}}"


def _write_tag(match: re.Match[str]) -> str:
    name = match[2].lower()
    if name == "img":
        return "<image>"
    if name in _LINE_TAGS:
        return "\n" if match[1] or name != "tr" else ""
    if name in _PARAGRAPH_TAGS:
        return "\n\n"
    if name == "li":
        return "" if match[1] else "\n- "
    return " " if name in ("td", "th") else ""


def _repair_latex(text: str) -> str:
    # Codeforces writes $$$x$$$ in a line and $$$$$$x$$$$$$ in one of its own.
    text = text.replace("$$$$$$", "$$").replace("$$$", "$").replace("\\\\\\ ", "\\\\ ")
    return _GLUED_SAMPLE.sub("\n\n", text)


def _restore_exponents(text: str) -> str:
    head, header, constraints = text.partition("\nConstraints:")
    constraints = _LOST_EXPONENT.sub(r"\g<before>10^\g<exponent>", constraints)
    text = _MODULUS.sub("10^9", head + header + constraints)
    return _TOLERANCE.sub(r"10^-\g<exponent>", text)


def _normalize_lines(text: str) -> str:
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
