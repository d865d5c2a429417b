"""Extract the program from a model's answer: the last complete fenced code block that can be it.

    answer ──► strip_reasoning ──► find_blocks ──► ParserProcess.rate ──► the best block, and of equal ones the last

The first two steps take time linear in the length of the answer. The third parses the blocks, in a process of its own
and for a limited time, because the parser is neither linear nor interruptible. Nothing of an answer is ever run.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from evaluator.markdown import Block, Fence, find_blocks
from evaluator.parser_process import shared_parser
from evaluator.reasoning import strip_reasoning
from evaluator.syntax import Fit, Rating, Request

_MAX_PROGRAM_CHARS = 1 << 18  # characters; contest judges accept 64 KiB to 512 KiB
_MAX_PARSED_CHARS = 1 << 20  # characters of all blocks of an answer together; the last ones count
_MAX_PARSE_CPU_S = 5.0  # seconds for all blocks of an answer; 256 kB of ordinary source take 2 s, an answer 5 ms
# Tags of the chat format around an answer without fences.
_OUTER_TAGS = re.compile(
    r"<\|[a-z_]{1,30}+\|>|^[ \t]*+</?(?:answer|solution|output|response|code|python)>[ \t]*+$|</s>", re.MULTILINE
)


@dataclass(frozen=True)
class Extraction:
    """Result of extracting a program.

    Attributes:
        code: the program; None if no complete block fits.
        is_closed: False if the text ends inside an open fence or an unfinished reasoning section, even if an earlier
            block gave ``code``.
        blocks: number of complete fenced blocks in the answer, in any language.
    """

    code: str | None
    is_closed: bool
    blocks: int = 0

    @property
    def is_incomplete(self) -> bool:
        """True if the answer is cut off inside a fence or reasoning section, or contains neither a block nor a program.

        This is "incomplete" as in the truncation mask (arXiv 2603.07777 eq. 2). An answer whose complete block is not a
        valid program is complete, and wrong.
        """
        return not self.is_closed or (self.code is None and self.blocks == 0)


@dataclass(frozen=True)
class _Candidate:
    """Text that may be the program.

    Attributes:
        readings: the text, then corrected versions of it.
        fence: opening fence of its block; None for an answer without fences.
    """

    readings: list[str]
    fence: Fence | None

    @property
    def is_preferred(self) -> bool:
        """True if the program, if complete, is the answer whatever stands before it: tagged as Python, or untagged."""
        return self.fence is not None and (self.fence.is_python or not self.fence.tag)


def extract_code(response: str, func_name: str | None) -> Extraction:
    """Extract the program from ``response``.

    Reasoning does not count, and no block in another language. Among the other complete blocks, these win in order;
    of equal ones, the last:

    1. A program that may be right: it defines ``func_name`` (a function, or a method of ``Solution``) in whatever way,
       or, without ``func_name``, writes output; and it defines all names that it uses. Without ``func_name``, one that
       also reads input comes before one that does not. Tagged as Python comes before other tags and none, except that
       a complete program without a tag counts as if tagged.
    2. One that may fit in a way that the source does not show, or that uses undefined names, such as an example of use.
    3. Any other Python (a literal, an assignment, an assertion), if tagged as Python or untagged: it is usually sample
       input or output, and only counts where nothing else does.

    An answer without any fence is taken as a whole if it is a program of the first two kinds.

    Raises:
        SandboxError: the process that parses failed twice, for a reason that is not in the answer.
    """
    answer, in_reasoning = strip_reasoning(
        "\n".join(line.rstrip("\r") for line in response.lstrip("\ufeff").split("\n"))
    )
    blocks, in_block = find_blocks(answer)
    candidates = [
        _make_candidate(block) for outer in blocks for block in outer.flatten() if not block.fence.is_other_language
    ]
    if not in_reasoning and not in_block:
        candidates.insert(0, _Candidate([_OUTER_TAGS.sub("", answer)], None))
    return Extraction(_choose(_limit(candidates), func_name), not in_block and not in_reasoning, len(blocks))


def _make_candidate(block: Block) -> _Candidate:
    text = block.text + "\n"
    dedented = textwrap.dedent(text)  # the block of a list item may be indented as a whole
    return _Candidate([text] if dedented == text else [text, dedented], block.fence)


def _limit(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the candidates from the last to the first, as far as their size allows."""
    limited: list[_Candidate] = []
    size = 0
    for candidate in reversed(candidates):
        length = len(candidate.readings[0])
        if length > _MAX_PROGRAM_CHARS or not candidate.readings[0].strip():
            continue
        size += length
        if size > _MAX_PARSED_CHARS:
            break
        limited.append(candidate)
    return limited


def _choose(candidates: list[_Candidate], func_name: str | None) -> str | None:
    """Return the text of the best candidate, of which the first comes first among equals."""
    if not candidates:
        return None
    ratings = shared_parser.rate(
        Request(
            func_name=func_name,
            cpu_s=_MAX_PARSE_CPU_S,
            blocks=[candidate.readings for candidate in candidates],
            final=[candidate.is_preferred for candidate in candidates],
        )
    )
    best: str | None = None
    best_rank = (0, False, 0)
    for candidate, rating in zip(candidates, ratings, strict=False):  # the rest is not rated
        rank = _rank(candidate, rating)
        if rank > best_rank:
            best = candidate.readings[rating.reading]
            best_rank = rank
    return best


def _rank(candidate: _Candidate, rating: Rating) -> tuple[int, bool, int]:
    """Return the rank of a candidate, higher is better (see ``extract_code``)."""
    fit = rating.fit
    fence = candidate.fence
    if fit is Fit.UNFIT or (fit is Fit.SNIPPET and not candidate.is_preferred):
        return (0, False, 0)
    tier = 3 if fit >= Fit.PRINTS else 2 if fit >= Fit.POSSIBLE else 1
    is_first_choice = fence is not None and (fence.is_python or (not fence.tag and fit is Fit.COMPLETE))
    return (tier, is_first_choice, fit)
