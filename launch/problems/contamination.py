"""Training-set hygiene: which training problems are, or may be, problems of the evaluation set.

Method: arXiv 2603.07779 (n-gram overlap against the test set, 16-grams, threshold 0.22); what it leaves open is defined
in ``similarity``.
"""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluator.problem import Problem
from launch.problems.contest_dates import DateWindow, contest_day

GRAM = 16  # words
THRESHOLD = 0.22
WORD = re.compile(r"[^\W_]+")  # "H_A", "H_{A}" and "$H_A$" are the same two words
# Weights of the words in a gram's hash: any fixed odd numbers do, since the words' own hashes are random.
_WEIGHTS = np.random.default_rng(16).integers(0, 2**63, GRAM, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

Reason = Literal["question_id", "title", "similarity", "date"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """A training problem that overlaps the evaluation set, by the first reason that applies, in ``Reason``'s order.

    ``evaluation_id`` is the problem it overlaps, None for ``date``; ``similarity`` is 1 for an id or a title.
    """

    training_id: str
    reason: Reason
    evaluation_id: str | None
    similarity: float | None


@dataclass(frozen=True)
class OverlapReport:
    """What was found among ``checked`` training problems.

    ``undated`` counts those without a date, of which the evaluation window tells nothing; they are no overlaps.
    """

    checked: int
    overlaps: tuple[Overlap, ...]
    undated: int

    @property
    def counts(self) -> dict[Reason, int]:
        """Overlapping problems by reason; a problem counts once."""
        return dict(collections.Counter(overlap.reason for overlap in self.overlaps))

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.items())
        text = f"{len(self.overlaps)} of {self.checked} training problems overlap the evaluation set"
        text += f" ({reasons})" if reasons else ""
        return text + (f"; {self.undated} have no date to check" if self.undated else "")


def find_overlaps(
    training: Sequence[Problem], evaluation: Sequence[Problem], window: DateWindow | None
) -> OverlapReport:
    """Training problems with the id or the title of an evaluation problem, with a statement more similar to one than
    ``THRESHOLD``, or dated inside ``window``, the days that the evaluation set covers (None: not checked)."""
    ids = {problem.question_id for problem in evaluation}
    titles = {title: problem.question_id for problem in evaluation if (title := normalised(problem.question_title))}
    index = SimilarityIndex([problem.question_content for problem in evaluation])
    overlaps = []
    undated = 0
    for problem in training:
        question_id = problem.question_id
        title = normalised(problem.question_title)
        day = contest_day(problem)
        undated += window is not None and day is None
        if question_id in ids:
            overlaps.append(
                Overlap(training_id=question_id, reason="question_id", evaluation_id=question_id, similarity=1.0)
            )
        elif title in titles:
            overlaps.append(
                Overlap(training_id=question_id, reason="title", evaluation_id=titles[title], similarity=1.0)
            )
        elif (best := index.most_similar(problem.question_content))[1] > THRESHOLD:
            overlaps.append(
                Overlap(
                    training_id=question_id,
                    reason="similarity",
                    evaluation_id=evaluation[best[0]].question_id,
                    similarity=best[1],
                )
            )
        elif window is not None and day is not None and day in window:
            overlaps.append(Overlap(training_id=question_id, reason="date", evaluation_id=None, similarity=None))
    return OverlapReport(len(training), tuple(overlaps), undated)


def normalised(text: str) -> str:
    """The words of a text: compatibility forms resolved, case, punctuation, markup and spacing gone."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def similarity(one: str, other: str) -> float:
    """Share of the shorter text's different word 16-grams that are also in the other, after ``normalised``.

    Shorter: with fewer different 16-grams. A text of less than 16 words is one gram, one without words has none and is
    similar to nothing. So a statement inside a longer one is found, which a share of the union would miss.
    """
    return SimilarityIndex([other]).most_similar(one)[1]


class SimilarityIndex:
    """Statements, ready for being compared with many others: which of them hold a gram, by the gram's hash.

    Hashes are of 64 bits: among 20 million training grams and half a million indexed ones, two different grams meet
    with a probability below one in a million.
    """

    def __init__(self, statements: Sequence[str]) -> None:
        grams = [gram_hashes(statement) for statement in statements]
        self._sizes = np.array([len(one) for one in grams], dtype=np.int64)
        hashes = np.concatenate([*grams, np.empty(0, np.uint64)])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._owners = np.repeat(np.arange(len(grams)), self._sizes)[order]

    def most_similar(self, statement: str) -> tuple[int, float]:
        """(position, similarity) of the indexed statement most similar to ``statement``; (0, 0.0) for none at all."""
        grams = gram_hashes(statement)
        first, last = (np.searchsorted(self._hashes, grams, side) for side in ("left", "right"))
        found = np.flatnonzero(last > first)
        if not len(found):
            return 0, 0.0
        owners = np.concatenate([self._owners[first[gram] : last[gram]] for gram in found])
        shared = np.bincount(owners, minlength=len(self._sizes))
        shares = shared / np.maximum(np.minimum(self._sizes, len(grams)), 1)  # a statement without grams shares none
        best = int(np.argmax(shares))
        return best, float(shares[best])


def gram_hashes(statement: str) -> np.ndarray:
    """Hashes [N] uint64 of the statement's different grams, in rising order. They hold within this process only."""
    words = normalised(statement).split()
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    if len(words) < GRAM:
        return np.array([hashes @ _WEIGHTS[: len(words)]]) if words else hashes
    return np.unique(np.lib.stride_tricks.sliding_window_view(hashes, GRAM) @ _WEIGHTS)
