"""Tokens of a response with the log-probs of sampler and learner, for a strip that shows where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from launch.run_report.rollout_rows import RolloutRow

WINDOW = 1024
"""Tokens of a window: a longer response is shown as its start, its largest difference, and its end."""
SCALE = 1000
"""Log-probs are written as whole thousandths of a nat."""
MAX_LOGPROB = 1e6
"""Finite values beyond it are written as this one; a difference that is NaN ranks as this one."""


class TokenTexts:
    """Texts of token ids, decoded once each."""

    def __init__(self, path: Path | None) -> None:
        """Load tokenizer.json; without one, or if it cannot be read, a token's text is its number."""
        self.tokenizer: Tokenizer | None = None
        self.texts: dict[int, str] = {}
        if path is not None:
            try:
                self.tokenizer = Tokenizer.from_file(str(path))
            except Exception as error:  # noqa: BLE001 - the library raises bare Exception for a damaged file
                self.note = f"{path} cannot be read, so tokens are shown as numbers: {error}"
            else:
                self.note = ""
        else:
            self.note = "no tokenizer.json in the checkpoints or in model.path, so tokens are shown as numbers"

    def decode(self, token_id: int) -> str:
        """Return the text of a token."""
        if token_id not in self.texts:
            text = ""
            if self.tokenizer is not None and token_id >= 0:
                text = self.tokenizer.decode([token_id], skip_special_tokens=False)
            self.texts[token_id] = text or f"<{token_id}>"
        return self.texts[token_id]


@dataclass(frozen=True)
class Vocabulary:
    """Texts of the tokens of a page, each once."""

    decoder: TokenTexts
    indices: dict[int, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def index(self, token_id: int) -> int:
        """Return the position of a token's text in ``texts``."""
        if token_id not in self.indices:
            self.indices[token_id] = len(self.texts)
            self.texts.append(self.decoder.decode(token_id))
        return self.indices[token_id]


def choose_windows(differences: np.ndarray | None, length: int) -> list[tuple[int, int]]:
    """Choose the parts of a response to show, as sorted, disjoint (start, end).

    Args:
        differences: [R] learner's minus sampler's log-probs; None if unknown.
        length: R.

    >>> choose_windows(None, 5), choose_windows(None, 5000)
    ([(0, 5)], [(0, 1024), (3976, 5000)])
    """
    if length <= 3 * WINDOW:
        return [(0, length)]
    starts = {0, length - WINDOW}
    if differences is not None:
        largest = int(np.argmax(np.abs(np.nan_to_num(differences, nan=MAX_LOGPROB))))
        starts.add(min(max(largest - WINDOW // 2, 0), length - WINDOW))
    windows: list[tuple[int, int]] = []
    for start in sorted(starts):
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], start + WINDOW)
        else:
            windows.append((start, start + WINDOW))
    return windows


def make_token_strip(row: RolloutRow, vocabulary: Vocabulary) -> dict[str, object] | None:
    """Return the JSON value of a strip; None without token ids.

    Keys: ``windows`` [[start, end], ...], and for the tokens of all windows ``tokens`` (positions in the page's
    vocabulary), ``sampler`` and ``learner`` (log-probs in thousandths of a nat, None where not finite), the last two
    only if known.
    """
    ids = row.response_token_ids
    if ids is None or not len(ids):
        return None
    sampler = row.sampler_logprobs
    learner = row.learner_logprobs
    known = sampler is not None and learner is not None and len(sampler) == len(learner) == len(ids)
    with np.errstate(invalid="ignore"):  # the difference of two infinities
        difference = learner - sampler if known and learner is not None and sampler is not None else None
    windows = choose_windows(difference, len(ids))
    chosen = np.concatenate([np.arange(start, end) for start, end in windows])
    strip: dict[str, object] = {
        "windows": windows,
        "tokens": [vocabulary.index(token) for token in ids[chosen].tolist()],
    }
    if sampler is not None and len(sampler) == len(ids):
        strip["sampler"] = _scale(sampler[chosen])
    if known and learner is not None:
        strip["learner"] = _scale(learner[chosen])
    return strip


def _scale(values: np.ndarray) -> list[int | None]:
    bounded = np.clip(np.nan_to_num(values.astype(np.float64)), -MAX_LOGPROB, MAX_LOGPROB)
    numbers = np.rint(SCALE * bounded).astype(np.int64).tolist()
    return [number if finite else None for number, finite in zip(numbers, np.isfinite(values).tolist(), strict=True)]


def summarize_difference(row: RolloutRow) -> Mapping[str, float] | None:
    """Return mean and largest absolute difference of the learner's and the sampler's log-probs; None if unknown."""
    if row.sampler_logprobs is None or row.learner_logprobs is None or not len(row.sampler_logprobs):
        return None
    if len(row.sampler_logprobs) != len(row.learner_logprobs):
        return None
    difference = np.abs(row.learner_logprobs.astype(np.float64) - row.sampler_logprobs)
    return {"mean": float(difference.mean()), "largest": float(difference.max())}
