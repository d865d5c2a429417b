"""The sandbox on hosts that refuse some of its fences: what still holds there, and that it says what does not."""

import os
import pwd
import socket
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest

from evaluator import Evaluator, Limits, Sandbox, SandboxError, judging

pytestmark = pytest.mark.heavy  # ten kinds of hosts, a sandbox each
LIMITS = Limits(wall_s=30.0, cpu_s=30.0)
NAMESPACES = ("user namespace",)  # without it there are no others
LANDLOCK = ("landlock", "landlock signals")
# Host kinds by what is left out of a good one. Never all of namespaces, Landlock's signal scope and seccomp where a
# program sends a signal to everyone: it would reach the processes of whoever runs the tests.
HOSTS = {
    "all fences": (),
    "an older kernel": ("landlock signals",),
    "no Landlock": LANDLOCK,
    "no seccomp": ("seccomp",),
    "no private root": ("private root",),
    "a masked /proc": ("private /proc",),
    "no namespaces": NAMESPACES,
    "no namespaces, no Landlock": (*NAMESPACES, *LANDLOCK),
    "no namespaces, no seccomp": (*NAMESPACES, "seccomp"),
    "limits only": (*NAMESPACES, *LANDLOCK, "seccomp", "process limit"),
}


class Host:
    """A sandbox with its kind."""

    def __init__(self, name):
        self.left_out = HOSTS[name]
        self.sandbox = Sandbox(without=self.left_out)
        if set(self.sandbox.missing) - implied(self.left_out):
            pytest.skip(f"this host refuses {', '.join(self.sandbox.missing)}")

    def has(self, fence):
        return fence not in self.sandbox.missing

    def run(self, source):
        with self.sandbox.program(textwrap.dedent(source), LIMITS) as program:
            return program.run(b"1 2\n")


def implied(left_out):
    """The names that must be missing when ``left_out`` are."""
    if "user namespace" not in left_out:
        return {*left_out, *(("no nested namespaces",) if "private /proc" in left_out else ())}
    namespaces = {f"{kind} namespace" for kind in ("user", "pid", "mount", "network", "ipc", "uts")}
    # Linux before 5.14 counts all of a user's processes against the limit of each.
    return {*left_out, *namespaces, "private root", "process limit"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    host = Host(request.param)
    yield host
    host.sandbox.close()


def test_it_names_what_is_missing(host):
    assert set(host.left_out) <= set(host.sandbox.missing) <= implied(host.left_out)


def test_programs_run(host):
    ended = host.run("import random, os\nopen('file', 'w').write('x')\nprint(sum(map(int, input().split())))")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, b"3\n", "")
    with (
        host.sandbox.program("def add(a, b): return a + b", LIMITS, "add") as program,
        program.calls(30) as calls,
    ):
        assert [calls.call(f"{n}\n1").text for n in range(3)] == ["1", "2", "3"]


def test_the_programs_directory_is_empty_and_private(host):
    for _ in range(2):
        ended = host.run("import os\nprint(os.listdir('.'), len(os.environ))\nos.mkdir('d', 0)\nopen('f', 'w')")
        assert ended.stdout == b"[] 0\n", ended


def test_files_of_the_host_are_not_read(host, tmp_path):
    for parent in [tmp_path, *tmp_path.parents][:4]:
        if parent.owner() == pwd.getpwuid(os.getuid()).pw_name and parent != Path("/tmp"):
            parent.chmod(0o755)
    (tmp_path / "tests.json").write_text("the answers")
    ended = host.run(f"print(open({str(tmp_path / 'tests.json')!r}).read())")
    if host.has("private root") or host.has("landlock"):
        assert ended.exit_code == 1 and ended.stderr.strip().endswith(f"{str(tmp_path / 'tests.json')!r}")
    else:
        assert ended.stdout == b"the answers\n", "a fence more than is documented: tell it in docs/evaluator.md"


def test_nothing_is_written_outside(host, tmp_path):
    tmp_path.chmod(0o777)
    target = Path("/var/tmp") / f"sandbox-test-{os.getpid()}"
    host.run(f"open({str(target)!r}, 'w').write('x')")
    written = target.exists()
    target.unlink(missing_ok=True)
    assert written == (not host.has("private root") and not host.has("landlock"))


def test_the_network_is_out_of_reach(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        ended = host.run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nprint('connected')")
    fenced = host.has("network namespace") or host.has("seccomp") or host.has("landlock")
    assert (ended.stdout == b"") == fenced, ended


def test_killing_its_parent_harms_no_later_program(host):
    source = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nprint('killed')"
    try:
        ended = host.run(source)
        assert ended.exit_code != 0 or b"killed" in ended.stdout
    except SandboxError:
        assert not host.has("pid namespace")  # an evaluator tries again then
    assert host.run("print(input())").stdout == b"1 2\n"


def test_signals_to_everyone_harm_no_later_program(host):
    if not any(map(host.has, ("pid namespace", "landlock signals", "seccomp"))):
        pytest.skip("nothing scopes signals here: they would reach all processes of this user")
    host.run("import os, signal\nos.kill(-1, signal.SIGKILL)")
    assert host.run("print(input())").stdout == b"1 2\n"


def test_tracing_and_foreign_memory_are_refused(host):
    ended = host.run(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.getppid()
        assert libc.ptrace(16, parent, 0, 0) == -1
        try: open(f'/proc/{parent}/mem', 'rb')
        except OSError: print('refused')
        """
    )
    assert ended.stdout == b"refused\n"


def test_a_fork_bomb_ends_and_leaves_nothing(host):
    if not host.has("process limit"):
        pytest.skip("nothing bounds the number of processes here")
    with host.sandbox.program("import os\nwhile True: os.fork()", Limits(wall_s=1.0, cpu_s=1.0)) as program:
        program.run(b"")
    assert host.run("print(input())").stdout == b"1 2\n"


def test_strict_refuses_a_host_that_lacks_a_fence(monkeypatch):
    with pytest.raises(SandboxError, match="strict, and this host refuses seccomp"):
        Sandbox(without=("seccomp",), strict=True).start()
    monkeypatch.setattr(judging, "Sandbox", partial(Sandbox, without=("seccomp",)))
    with Evaluator() as evaluator:
        assert "seccomp" in evaluator.missing
    with pytest.raises(SandboxError, match="seccomp"):
        Evaluator(strict=True)


def test_strict_accepts_a_good_host():
    with Sandbox() as sandbox:
        if sandbox.missing:
            pytest.skip(f"this host refuses {', '.join(sandbox.missing)}")
    with Evaluator(strict=True) as evaluator:
        assert evaluator.missing == ()


AS_SOMEBODY = """
import os, sys
os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
sys.path.insert(0, sys.argv[1])
from evaluator import Evaluator, Problem, ProblemTest
problem = Problem("q", "", "", "other", None, None, "", (ProblemTest("1", "1"),), ())
with Evaluator() as evaluator:
    for code in ("print(input())", "print(2)", "import os\\nos.kill(-1, 9)", "print(input())"):
        print(evaluator.evaluate(problem, code).passed)
"""


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become somebody else; the other tests ran as nobody special"
)
def test_without_root(tmp_path):
    package = tmp_path / "evaluator"
    subprocess.run(["cp", "-r", Path(judging.__file__).parent, package], check=True)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)

    def run_with(python):
        command = [python, "-B", "-c", AS_SOMEBODY, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")

    ran = run_with(sys.executable)
    if ran.returncode != 0:  # it may be in a directory that is closed to others
        ran = run_with("/usr/bin/python3")
    if "Permission" in ran.stderr or "No module named" in ran.stderr:
        pytest.skip(f"no Python here is readable for others: {ran.stderr.splitlines()[-1]}")
    assert ran.stdout.split() == ["True", "False", "False", "True"], ran
