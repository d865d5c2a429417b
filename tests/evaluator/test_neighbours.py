"""Honest programs beside hostile ones: whatever runs in another worker, their verdicts stay."""

import textwrap
from functools import partial

import pytest

from evaluator import Evaluator, Limits, ProblemTest, Sandbox, Status, judging
from tests.evaluator.problems import make_problem_with_tests
from tests.evaluator.test_resource_limits import nest_finally

pytestmark = pytest.mark.heavy
LIMITS = Limits(wall_s=3.0, cpu_s=3.0, memory_mb=256)
ECHO = make_problem_with_tests(ProblemTest("1\n", "1\n", "stdin"))
IDENTITY = make_problem_with_tests(
    *(ProblemTest(str(number), str(number), "functional") for number in range(3)), func_name="f"
)
LONG_LIST = make_problem_with_tests(ProblemTest("1", "[" + "1," * 400_000 + "1]", "functional"), func_name="f")
HONEST = {
    "program": (ECHO, "import time\nwhile time.process_time() < 1: pass\nprint(input())"),
    "program that fills a pipe": (
        ECHO,
        "import os\nr, w = os.pipe()\nos.write(w, bytes(30_000))\nprint(input())",
    ),
    "program with children": (
        ECHO,
        "import os, time\nfor _ in range(20):\n  if os.fork() == 0: time.sleep(0.2); os._exit(0)\n"
        "for _ in range(20): assert os.wait()[1] == 0\nprint(input())",
    ),
    "function that sleeps": (IDENTITY, "import time\ndef f(x):\n  time.sleep(0.6)\n  return x"),
}
HOSTILE = {
    "processes in sessions of their own": (
        ECHO,
        """
        import os
        for _ in range(50):
            if os.fork() == 0:
                os.setsid()
                while True: pass
        while True: pass
        """,
    ),
    "as many processes as it can have": (
        ECHO,
        """
        import os, time
        try:
            while True:
                if os.fork() == 0: time.sleep(9)
        except OSError: pass
        time.sleep(9)
        """,
    ),
    "full pipes": (
        ECHO,
        """
        import fcntl, os, time
        kept = []
        try:
            while True:
                kept.append(os.pipe())
                try: fcntl.fcntl(kept[-1][1], 1031, 1 << 20)
                except OSError: pass
                os.set_blocking(kept[-1][1], False)
                os.write(kept[-1][1], bytes(1 << 20))
        except OSError: pass
        time.sleep(9)
        """,
    ),
    "a reply of many empty lists": (
        LONG_LIST,
        """
        import os, sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for value in list(frame.f_locals.values()):
                    if isinstance(value, dict) and 'nonce' in value:
                        reply = b'["%s", "value", "[%s1]"]' % (value['nonce'].encode(), b'[],' * 1_000_000)
                        data = memoryview(len(reply).to_bytes(8, 'big') + reply)
                        while data: data = data[os.write(3, data):]
                        os._exit(0)
                frame = frame.f_back
        """,
    ),
    "locks and limits of the others": (
        ECHO,
        """
        import fcntl, os, resource, sys
        for pid in (1, os.getppid()):
            for limit in range(16):
                try: resource.prlimit(pid, limit, (1, 1))
                except (OSError, ValueError): pass
        fcntl.flock(open(os.__file__), fcntl.LOCK_EX)
        while True: pass
        """,
    ),
    "source that takes long to compile": (ECHO, "\n".join(f"def f{n}():\n{nest_finally(18)}" for n in range(60))),
}


@pytest.fixture(scope="module", params=[(), ("user namespace", "uid")], ids=["all fences", "no namespaces"])
def evaluator(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "Sandbox", partial(Sandbox, without=request.param))
        with Evaluator(LIMITS, workers=2) as evaluator:
            yield evaluator


@pytest.mark.parametrize("name", HOSTILE)
def test_honest_programs_keep_their_verdicts_beside_a_hostile_one(evaluator, name):
    problem, source = HOSTILE[name]
    hostile = []
    honest = {}
    for number, (kind, program) in enumerate(HONEST.items()):
        if number % 2 == 0:  # programs start in this order, so that one of these runs beside each honest one
            hostile.append(evaluator.submit(problem, textwrap.dedent(source)))
        honest[kind] = evaluator.submit(*program)
    assert {kind: future.result().detail for kind, future in honest.items() if not future.result().passed} == {}
    statuses = {future.result().status for future in hostile}
    assert not statuses & {Status.PASSED, Status.SANDBOX_ERROR}
