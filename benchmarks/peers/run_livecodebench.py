"""Child process of ``benchmarks.evaluator``: LiveCodeBench's evaluator, called as its users call it.

The request is ``{"workers", "timeout_s", "programs": [{"inputs", "outputs", "func_name", "code"}]}``, the result a list
of ``{"passed", "tests_run", "verdict"}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from livecodebench.evaluation import codegen_metrics, extract_instance_results

from benchmarks.tools.processes import serve


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Build one sample per program, in the format of ``CodeGenerationProblem.get_evaluation_sample``."""
    programs = request["programs"]
    samples = [
        {
            "input_output": json.dumps(
                {"inputs": program["inputs"], "outputs": program["outputs"], "fn_name": program["func_name"]}
            )
        }
        for program in programs
    ]
    codes = [[program["code"]] for program in programs]

    def work() -> list[dict[str, Any]]:
        _, results, metadata = codegen_metrics(
            samples, codes, num_process_evaluate=request["workers"], timeout=request["timeout_s"]
        )
        passed = [grades[0] for grades in extract_instance_results(results)]
        return [
            {
                "passed": bool(passed[i]),
                "tests_run": len(results[i][0]),
                "verdict": describe_verdict(passed[i], metadata[i][0]),
            }
            for i in range(len(programs))
        ]

    yield work


def describe_verdict(passed: bool, metadata: str) -> str:
    """Return "passed", or the start of the evaluator's own error message."""
    return "passed" if passed else str(json.loads(metadata).get("error_message", "failed"))[:60]


if __name__ == "__main__":
    serve(open_session)
