"""Contamination check: find training problems that are, or may be, problems of the evaluation set.

Method: n-gram overlap with the evaluation set after arXiv 2603.07779 (16-grams, threshold 0.22). The details that the
paper leaves open are defined in ``compute_similarity``.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluator.problem import Problem
from launch.problems.date_window import DateWindow, parse_contest_day

GRAM_WORDS = 16
SIMILARITY_THRESHOLD = 0.22
_WORD = re.compile(r"[^\W_]+")  # "H_A", "H_{A}" and "$H_A$" are the same two words
# Weights of the words in a gram's hash: any fixed odd numbers do, since the words' own hashes look random.
_WEIGHTS = np.random.default_rng(16).integers(0, 2**63, GRAM_WORDS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

ContaminationReason = Literal["question_id", "title", "similarity", "date"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContaminatedProblem:
    """A training problem that may be in the evaluation set.

    Attributes:
        training_id: id of the training problem.
        reason: the first that applies, in the order of ``ContaminationReason``.
        evaluation_id: id of the matching evaluation problem; None for ``date``.
        similarity: ``compute_similarity`` of the two statements; 1 for an equal id or title, None for ``date``.
    """

    training_id: str
    reason: ContaminationReason
    evaluation_id: str | None
    similarity: float | None


@dataclass(frozen=True)
class ContaminationReport:
    """Result of a contamination check.

    Attributes:
        checked: number of training problems that were checked.
        contaminated: the problems that may be in the evaluation set, each once.
        undated: number of training problems without a date, which the date window cannot exclude.
    """

    checked: int
    contaminated: tuple[ContaminatedProblem, ...]
    undated: int

    @property
    def counts_by_reason(self) -> dict[ContaminationReason, int]:
        """Number of contaminated problems by reason."""
        return dict(collections.Counter(problem.reason for problem in self.contaminated))

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts_by_reason.items())
        text = f"{len(self.contaminated)} of {self.checked} training problems overlap the evaluation set"
        text += f" ({reasons})" if reasons else ""
        return text + (f"; {self.undated} have no date to check" if self.undated else "")


def find_contamination(
    training: Sequence[Problem], evaluation: Sequence[Problem], window: DateWindow | None
) -> ContaminationReport:
    """Compare training problems with the evaluation set.

    A training problem is contaminated if it has the id or the normalized title of an evaluation problem, if its
    statement is more similar to one than ``SIMILARITY_THRESHOLD``, or if it is dated inside ``window``.

    Args:
        training: problems to check.
        evaluation: problems of the evaluation set.
        window: days that the evaluation set covers; None skips the check of dates.
    """
    ids = {problem.question_id for problem in evaluation}
    titles = {title: problem.question_id for problem in evaluation if (title := normalize_text(problem.question_title))}
    index = SimilarityIndex([problem.question_content for problem in evaluation])
    contaminated = []
    undated = 0
    for problem in training:
        question_id = problem.question_id
        title = normalize_text(problem.question_title)
        day = parse_contest_day(problem)
        undated += window is not None and day is None
        if question_id in ids:
            contaminated.append(
                ContaminatedProblem(
                    training_id=question_id, reason="question_id", evaluation_id=question_id, similarity=1.0
                )
            )
        elif title in titles:
            contaminated.append(
                ContaminatedProblem(
                    training_id=question_id, reason="title", evaluation_id=titles[title], similarity=1.0
                )
            )
        elif (best := index.find_most_similar(problem.question_content))[1] > SIMILARITY_THRESHOLD:
            contaminated.append(
                ContaminatedProblem(
                    training_id=question_id,
                    reason="similarity",
                    evaluation_id=evaluation[best[0]].question_id,
                    similarity=best[1],
                )
            )
        elif window is not None and day is not None and day in window:
            contaminated.append(
                ContaminatedProblem(training_id=question_id, reason="date", evaluation_id=None, similarity=None)
            )
    return ContaminationReport(len(training), tuple(contaminated), undated)


def normalize_text(text: str) -> str:
    """Return the text's words, case-folded (NFKC) and joined by spaces, without punctuation and markup."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def compute_similarity(first: str, second: str) -> float:
    """Return the share of the shorter text's distinct word 16-grams that the longer text contains.

    Both texts are normalized first. The shorter text is the one with fewer distinct 16-grams. A text of fewer than 16
    words counts as one gram; a text without words has no gram and similarity 0 to every text. A statement inside a
    longer one has similarity 1; a share of the union of grams (Jaccard) would miss it.
    """
    return SimilarityIndex([second]).find_most_similar(first)[1]


class SimilarityIndex:
    """Index from 64-bit gram hashes to statements, to compare one statement with many.

    With 20 million training grams and half a million indexed grams, the probability that two different grams have the
    same hash is below one in a million.
    """

    def __init__(self, statements: Sequence[str]) -> None:
        grams = [hash_grams(statement) for statement in statements]
        self._gram_counts = np.array([len(hashes) for hashes in grams], dtype=np.int64)
        hashes = np.concatenate([*grams, np.empty(0, np.uint64)])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._owners = np.repeat(np.arange(len(grams)), self._gram_counts)[order]

    def find_most_similar(self, statement: str) -> tuple[int, float]:
        """Return (position, similarity) of the most similar indexed statement; (0, 0.0) if none shares a gram."""
        grams = hash_grams(statement)
        first, last = (np.searchsorted(self._hashes, grams, side) for side in ("left", "right"))
        matches = np.flatnonzero(last > first)
        if not len(matches):
            return 0, 0.0
        owners = np.concatenate([self._owners[first[gram] : last[gram]] for gram in matches])
        shared = np.bincount(owners, minlength=len(self._gram_counts))
        # The maximum with 1 avoids 0/0: a statement without grams shares none.
        shares = shared / np.maximum(np.minimum(self._gram_counts, len(grams)), 1)
        best = int(np.argmax(shares))
        return best, float(shares[best])


def hash_grams(statement: str) -> np.ndarray:
    """Return the hashes [N] uint64 of the statement's distinct grams, ascending."""
    return np.unique(hash_word_sequences(hash_words(statement), GRAM_WORDS))


def hash_words(statement: str) -> np.ndarray:
    """Return the hashes [words] uint64 of the normalized statement's words. They are the same in every process."""
    words = normalize_text(statement).split()
    return np.fromiter(map(_hash_word, words), np.uint64, len(words))


def hash_word_sequences(words: np.ndarray, length: int) -> np.ndarray:
    """Return the hash [words - length + 1] uint64 of each sequence of ``length`` successive words, at most 16.

    Fewer words than ``length``, but at least one, are one sequence.
    """
    if len(words) < length:
        return np.array([words @ _WEIGHTS[: len(words)]]) if len(words) else words
    return np.lib.stride_tricks.sliding_window_view(words, length) @ _WEIGHTS[:length]


@functools.lru_cache(maxsize=1 << 17)
def _hash_word(word: str) -> int:
    # Not Python's hash(), which differs between processes: an index is sent to other nodes.
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
