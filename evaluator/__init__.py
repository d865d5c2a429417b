"""Reward of code models: coding problems, and the evaluator that judges whether a program solves one.

Importing this package loads the standard library only; numpy and pyarrow are imported inside the functions that use
them.
"""

from evaluator.evaluator import Evaluator
from evaluator.extraction import Extraction, extract_code
from evaluator.problem import LoadedProblems, Problem, ProblemError, ProblemTest, load_problems, parse_problem, to_row
from evaluator.sandbox import CompileError, Limits, Sandbox, SandboxError
from evaluator.verdict import Status, Verdict

__all__ = [
    "CompileError",
    "Evaluator",
    "Extraction",
    "Limits",
    "LoadedProblems",
    "Problem",
    "ProblemError",
    "ProblemTest",
    "Sandbox",
    "SandboxError",
    "Status",
    "Verdict",
    "extract_code",
    "load_problems",
    "parse_problem",
    "to_row",
]
