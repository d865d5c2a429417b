"""Cleaning of statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.checker import Tolerance
from evaluator.comparison.grants import find_granted_tolerance
from launch.curation.processing.statements import clean_statement


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        # HTML
        ("<p>Print <b>n</b>.</p><p>1 &le; n &le; 10<sup>5</sup></p>", "Print n.\n\n1 ≤ n ≤ 10^5"),
        ("<p>a<sub>i</sub> &lt; 10<sup>-6</sup>, x<sup>n+1</sup></p>", "a_i < 10^{-6}, x^{n+1}"),
        ("Print:<ul><li>a</li><li>b</li></ul>", "Print:\n\n- a\n- b"),
        ("<pre>1 2\n3</pre>Sum", "1 2\n3\n\nSum"),
        ("one<br/>two<br>three", "one\ntwo\nthree"),
        ("<p>See <img src='a.png'/>.</p>", "See <image>."),
        ("Output\n\n&gt;\n&lt;=", "Output\n\n>\n<="),
        ("&lt;p&gt;Print.&lt;/p&gt;", "Print."),
        # no HTML
        ("a < b and c > d; f(u) = <empty string>; id<number>", "a < b and c > d; f(u) = <empty string>; id<number>"),
        ("Commands are <a> and <b>.", "Commands are <a> and <b>."),
        ("Close every HTML tag: <b>x</b> &lt;", "Close every HTML tag: <b>x</b> &lt;"),
        ("AT&T; a &b c", "AT&T; a &b c"),
        # LaTeX
        ("Given $$$n$$$ and $$$$$$\\sum a_i$$$$$$", "Given $n$ and $$\\sum a_i$$"),
        ("$\frac{a}{b} \times \beta$", "$\\frac{a}{b} \\times \\beta$"),
        ("$a \rightarrow b$, \text{x}, \vdots", "$a \\rightarrow b$, \\text{x}, \\vdots"),
        ("a\ttext\tb", "a\ttext\tb"),
        ("1 \\\\\\ 2", "1 \\\\ 2"),
        # characters
        ("a\u00a0b\u200b c\ufeff\r\nd  \r\n\n\n\ne\x00", "a b c\nd\n\ne"),
        # instructions of other sets
        (
            "Solve the following coding problem using the programming language python:\n\nAdd.\n\nThe input will be "
            "stdin and you should print your solution to stdout\n\n\nNow solve the problem and return the code.",
            "Add.",
        ),
        (
            "Please solve the programming task below using a self-contained code snippet in a markdown code block.\nA.",
            "A.",
        ),
        (
            "You are an expert Python programmer. You will be given a question (problem specification) and will "
            "generate a correct Python program that matches the specification and passes all tests.\n\n### Question:\n"
            "Add.\n\n### Format: Read.\n```python\n# YOUR CODE HERE\n```\n\n### Answer: (use the provided format with "
            "backticks)\n",
            "Add.",
        ),
        ("QUESTION:\nAdd.\nUse Standard Input format\nANSWER:\n", "Add."),
        (
            '"""\nWrite a function to add.\nassert add(1, 2) == 3\n"""\n',
            "Write a function to add.\nassert add(1, 2) == 3",
        ),
        ('"""Add.""" and """Subtract."""', '"""Add.""" and """Subtract."""'),
        ("Answer: yes or no?\nQuestion: which?", "Answer: yes or no?\nQuestion: which?"),
        # samples
        ("Print it.Sample Input 1:\n5\nSample Output 1:\n6", "Print it.\n\nSample Input 1:\n5\nSample Output 1:\n6"),
    ],
)
def test_cleaning(text, cleaned):
    assert clean_statement(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Return it modulo 109 + 7.", "Return it modulo 10^9 + 7."),
        ("Answers within 10-5 of the actual answer", "Answers within 10^-5 of the actual answer"),
        ("Constraints:\n1 <= n <= 105", "Constraints:\n1 <= n <= 105"),
        (
            "A\n\nConstraints:\n1 <= n <= 105\n-109 <= x <= 2 * 104",
            "A\n\nConstraints:\n1 <= n <= 10^5\n-10^9 <= x <= 2 * 10^4",
        ),
        (
            "A\n\nConstraints:\n1 <= n <= 1000\nk <= 100\nx <= 1051",
            "A\n\nConstraints:\n1 <= n <= 1000\nk <= 100\nx <= 1051",
        ),
        ("Input: n <= 105\n\nConstraints:\nn <= 10", "Input: n <= 105\n\nConstraints:\nn <= 10"),
    ],
)
def test_exponents_are_restored_in_statements_of_leetcode(text, cleaned):
    assert clean_statement(text, "leetcode") == cleaned
    assert clean_statement(text) == text


PIECES = st.sampled_from(
    [
        *(
            "<p>",
            "</p>",
            "<b>",
            "&lt;",
            "&amp;",
            "&amp;lt;",
            "gt;",
            "p",
            "$$$",
            "$",
            "\\\\\\ ",
            "\r",
            "\n",
            "\n\n",
            " ",
            "\t",
        ),
        *("imes", "\f", "rac", "\u200b", "\u00a0", "109 + 7", "\nConstraints:", "<= ", "105", "ANSWER:", "Question:\n"),
        *(
            "Sample Input 1:",
            "<sup>",
            "</sup>",
            "5",
            "Now solve the problem and return the code.",
            "Use Call-Based format",
        ),
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join), st.sampled_from(["leetcode", "other"]))
def test_a_clean_statement_stays_as_it_is(text, platform):
    once = clean_statement(text, platform)
    assert clean_statement(once, platform) == once


def test_granted_tolerances_survive():
    text = "<p>Absolute or relative error of at most 10<sup>-6</sup> is allowed.</p>"
    assert find_granted_tolerance(clean_statement(text)) == Tolerance(1e-6, 1e-6)


@pytest.mark.parametrize(
    "text", [" " * 200_000 + "x", "\n" * 200_000 + "x\n" * 10, "<" * 100_000, "&" * 100_000, "-" * 200_000]
)
def test_long_runs_of_a_character_are_cleaned(text):
    assert len(clean_statement(f"a{text}b")) <= len(text) + 2
