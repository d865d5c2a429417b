"""All readers of published sets by name."""

from __future__ import annotations

from collections.abc import Mapping

from launch.curation.sources import codecontests, codeforces, deepcoder, leetcode_dataset, livecodebench, taco
from launch.curation.sources.function_sets import HUMANEVAL, MBPP
from launch.curation.sources.reader import Reader

READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        deepcoder.READER,
        taco.READER,
        codecontests.READER,
        codeforces.READER,
        leetcode_dataset.READER,
        livecodebench.READER,
        MBPP,
        HUMANEVAL,
    )
}
"""Readers by the names that ``sources=[NAME]`` accepts."""
