"""Statements that allow several answers to one input, so that comparing with one expected output is not enough."""

from __future__ import annotations

import re

_MANY = r"(?:multiple|several|many|more than one|various|different|two or more)"
_VERB = r"(?:print|output|return|report|find|give|write|display|provide|construct)"
_YOU_MAY = r"(?:then )?(?:you (?:may|can|should|could|are allowed to) )?"
_ANSWERS = r"(?:answers?|solutions?|outputs?|permutations?|ways?)"
_ANY = r"(?:any|arbitrary|an arbitrary)"
_ACCEPTED = r"(?:will be|is|are|would be) (?:also )?(?:accepted|acceptable|allowed|considered correct|fine)\b"
_FORMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # If there are multiple such arrays, you may print any of them.
        rf"\b{_MANY}\b[^.]{{0,100}}[,:;]? {_YOU_MAY}{_VERB}(?: out)? (?:any|either|an? arbitrary|one of)\b",
        rf"\b{_MANY} (?:\w+ ){{0,3}}{_ANSWERS}\b[^.]{{0,60}}, {_YOU_MAY}(?:choose|pick) any\b",
        rf"\b{_MANY}\b[^.]{{0,60}}, (?:it|this|the answer) (?:may|can) be any\b",
        rf"\b{_MANY} (?:\w+ ){{0,3}}{_ANSWERS}[^.]{{0,60}}\. {_YOU_MAY}{_VERB}(?: out)? any\b",
        # Print any of them. Output any valid string.
        rf"\b{_VERB} (?:out )?any(?: one)? of (?:them|these|those|the (?:\w+ )?(?:valid|possible|correct|optimal))\b",
        rf"\b{_VERB} (?:out )?(?:any|an arbitrary) (?:one )?(?:such|valid|possible|correct|optimal|suitable|answer)\b",
        r"\b(?:print|output) any \w+ [^.]{0,60}\b(?:that|which) (?:satisf|meet|fulfil)",
        r"\byou (?:may|can) (?:print|output|return) any\b",
        rf"\bany (?:\w+ )?{_ANSWERS}(?: of them)?(?: that \w+)? {_ACCEPTED}",
        rf"\bany of (?:them|these|those)(?: \w+)? {_ACCEPTED}",
        # Return the indices in any order.
        rf"\b(?:{_VERB}|printed|returned|array may be)\b[^.]{{0,100}}\bin {_ANY} (?:valid )?order\b",
    )
)
# The answer is the same for each choice.
_UNIQUE = re.compile(
    r"\b(?:answer|solution|output) is (?:guaranteed to be )?unique\b|\bunique (?:answer|solution)\b", re.IGNORECASE
)


def allows_several_answers(statement: str) -> bool:
    """Return True if the statement says that any of several answers, or any order of the answer, is accepted.

    >>> allows_several_answers("If there are multiple answers, print any of them.")
    True
    >>> allows_several_answers("You can visit the cities in any order. Print the shortest time.")
    False
    """
    return find_allowance(statement) is not None


def find_allowance(statement: str) -> str | None:
    """Return the words of the statement that allow several answers; None if there are none."""
    text = " ".join(statement.replace("’", "'").split())
    if _UNIQUE.search(text):
        return None
    found = [match for form in _FORMS if (match := form.search(text))]
    return min(found, key=lambda match: match.start())[0] if found else None
