"""Fingerprints of candidates: small records from which duplicates are found without the candidates."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rensa import RMinHash

from evaluator.problem import ProblemTest
from launch.curation.candidates import Candidate
from launch.curation.processing.process import remove_format_line

SHINGLE_WORDS = 3
SIGNATURE_VALUES = 128
_SIGNATURE_SEED = 1
# Words, and operators between two words: "a + b" and "a * b" are different problems, "- first item" is a list.
_TOKEN = re.compile(r"[^\W_]+|(?<=[\w)\]$])\s?[-+*/%]\s?(?=[\w(\[$])")
_NUMBER = re.compile("[0-9]+")
_IGNORED = str.maketrans("", "", "$`\\")  # markup that formats of the same statement differ in
# A heading or label that begins the examples, alone in its line. Formats differ most in what follows it.
_EXAMPLES = re.compile(
    r"^[^\w\n]*(?:samples?|examples?)(?:[ _-]?(?:tests?|inputs?|cases?))?[ _-]*\d*[^\w\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_MIN_TEXT = 100  # characters before the examples without which the whole statement is compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Record of a candidate for finding duplicates.

    Attributes:
        question_id: id of the candidate's problem.
        source: source of the candidate.
        statement: hash of the statement without formatting.
        signature: MinHash signature of the statement's word sequences, 128 values of uint32 in little-endian order;
            empty for a statement without words.
        numbers: hash of the set of numbers in the statement.
        tests: hashes of the inputs of distinct tests and of their outputs, pairs of uint64 in little-endian order,
            ascending.
        has_right_programs: the tests can be verified.
        has_checker: the problem has a checker.
        test_characters: length of all distinct inputs.
    """

    question_id: str
    source: str
    statement: bytes
    signature: bytes
    numbers: bytes
    tests: bytes
    has_right_programs: bool
    has_checker: bool
    test_characters: int


def make_fingerprint(candidate: Candidate) -> Fingerprint:
    """Return the fingerprint of a candidate. It is the same in every process."""
    problem = candidate.problem
    statement = remove_format_line(problem)  # short ones would be similar because of that line
    return Fingerprint(
        question_id=problem.question_id,
        source=candidate.source,
        statement=hash_text(strip_formatting(f"{statement}\n{problem.func_name or ''}")),
        signature=make_signature(statement),
        numbers=hash_numbers(statement),
        tests=hash_tests(problem.tests),
        has_right_programs=bool(candidate.right_programs),
        has_checker=problem.checker is not None,
        test_characters=sum(map(len, {test.input for test in problem.tests})),
    )


def strip_formatting(text: str) -> str:
    """Return the text case-folded (NFKC), without white space and the marks of LaTeX and code.

    >>> strip_formatting("Print `A + B`,\\n  if $1 \\\\leq B$.")
    'printa+b,if1leqb.'
    """
    return "".join(unicodedata.normalize("NFKC", text).casefold().translate(_IGNORED).split())


def make_signature(statement: str) -> bytes:
    """Return the MinHash signature of the sequences of ``SHINGLE_WORDS`` words before the examples."""
    text = unicodedata.normalize("NFKC", cut_examples(statement)).casefold()
    words = [word.strip() for word in _TOKEN.findall(text)]
    if not words:
        return b""
    sequences = [
        " ".join(words[start : start + SHINGLE_WORDS]) for start in range(max(1, len(words) - SHINGLE_WORDS + 1))
    ]
    sketch = RMinHash(num_perm=SIGNATURE_VALUES, seed=_SIGNATURE_SEED)
    sketch.update(sequences)
    return np.array(sketch.digest(), dtype="<u4").tobytes()


def hash_numbers(statement: str) -> bytes:
    """Return a hash of the set of numbers before the examples."""
    numbers = set(_NUMBER.findall(unicodedata.normalize("NFKC", cut_examples(statement))))
    return hash_text(" ".join(sorted(numbers)))


def cut_examples(statement: str) -> str:
    """Return the statement up to its examples.

    >>> cut_examples("Add two numbers. " * 9 + "\\n**Example 1:**\\n1 2").endswith("numbers. \\n")
    True
    """
    found = _EXAMPLES.search(statement, _MIN_TEXT)
    return statement if found is None else statement[: found.start()]


def hash_tests(tests: Iterable[ProblemTest]) -> bytes:
    """Return the hashes of distinct tests, see ``Fingerprint.tests``. White space at the ends of lines is ignored."""
    pairs = {(_hash_lines(test.input), _hash_lines(test.output)) for test in tests}
    return np.array(sorted(pairs), dtype="<u8").tobytes()


def hash_text(text: str) -> bytes:
    """Return a hash of 16 bytes of any text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _hash_lines(text: str) -> int:
    lines = "\n".join(line.rstrip() for line in text.strip().split("\n"))
    return int.from_bytes(hash_text(lines)[:8], "little")
