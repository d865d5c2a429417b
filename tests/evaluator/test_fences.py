"""Sandboxes on hosts that support only some fences: the other fences hold, and the missing ones are reported."""

import os
import pwd
import socket
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from functools import partial
from pathlib import Path

import pytest

from evaluator import Evaluator, Limits, Sandbox, SandboxError, judging, sandbox
from evaluator.inside.fences import choose_scratch, list_without, remove_tree

pytestmark = pytest.mark.heavy  # ten kinds of hosts with one sandbox each
LIMITS = Limits(wall_s=30.0, cpu_s=30.0)
NAMESPACES = ("user namespace",)  # the other namespaces require it
LANDLOCK = ("landlock", "landlock signals")
# Kinds of hosts, by the fences that are disabled. Where user namespaces, Landlock's signal scope and seccomp are all
# disabled, no test may signal every process: the signal would reach the processes of the user who runs the tests.
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
    """Sandbox that behaves as on a kind of host, by disabling fences."""

    def __init__(self, name):
        self.disabled = HOSTS[name]
        self.sandbox = Sandbox(without=self.disabled)
        if set(self.sandbox.missing_fences) - get_possibly_missing(self.disabled):
            pytest.skip(f"this host refuses {', '.join(self.sandbox.missing_fences)}")

    def has(self, fence):
        return fence not in self.sandbox.missing_fences

    def run(self, source):
        with self.sandbox.load_program(textwrap.dedent(source), LIMITS) as program:
            return program.run(b"1 2\n")


def get_possibly_missing(disabled):
    """Return all fences that may be missing if ``disabled`` are disabled."""
    if "user namespace" not in disabled:
        return {*disabled, *(("no nested namespaces",) if "private /proc" in disabled else ())}
    namespaces = {f"{kind} namespace" for kind in ("user", "pid", "mount", "network", "ipc", "uts")}
    # Before Linux 5.14, all processes of the user count towards the process limit.
    return {*disabled, *namespaces, "private root", "process limit"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request):
    host = Host(request.param)
    yield host
    host.sandbox.close()


def test_missing_fences_are_listed(host):
    assert set(host.disabled) <= set(host.sandbox.missing_fences) <= get_possibly_missing(host.disabled)


def test_programs_and_calls_run(host):
    result = host.run("import random, os\nopen('file', 'w').write('x')\nprint(sum(map(int, input().split())))")
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"3\n", "")
    with (
        host.sandbox.load_program("def add(a, b): return a + b", LIMITS, "add") as program,
        program.start_calls(30) as calls,
    ):
        assert [calls.call(f"{n}\n1").text for n in range(3)] == ["1", "2", "3"]


def test_working_directory_is_empty_and_private(host):
    for _ in range(2):
        result = host.run("import os\nprint(os.listdir('.'), len(os.environ))\nos.mkdir('d', 0)\nopen('f', 'w')")
        assert result.stdout == b"[] 0\n", result


def test_host_files_cannot_be_read(host, tmp_path):
    for parent in [tmp_path, *tmp_path.parents][:4]:
        if parent.owner() == pwd.getpwuid(os.getuid()).pw_name and parent != Path("/tmp"):
            parent.chmod(0o755)
    (tmp_path / "tests.json").write_text("the answers")
    result = host.run(f"print(open({str(tmp_path / 'tests.json')!r}).read())")
    if host.has("private root") or host.has("landlock"):
        assert result.exit_code == 1 and result.stderr.strip().endswith(f"{str(tmp_path / 'tests.json')!r}")
    else:
        assert result.stdout == b"the answers\n", "another fence prevents this read: document it in docs/evaluator.md"


def test_host_files_cannot_be_written(host, tmp_path):
    tmp_path.chmod(0o777)
    target = Path("/var/tmp") / f"sandbox-test-{os.getpid()}"
    host.run(f"open({str(target)!r}, 'w').write('x')")
    written = target.exists()
    target.unlink(missing_ok=True)
    assert written == (not host.has("private root") and not host.has("landlock"))


def test_network_is_unreachable(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        result = host.run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nprint('connected')")
    is_fenced = host.has("network namespace") or host.has("seccomp") or host.has("landlock")
    assert (result.stdout == b"") == is_fenced, result


def test_program_that_kills_its_parent_does_not_affect_later_programs(host):
    source = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nprint('killed')"
    try:
        result = host.run(source)
        assert result.exit_code != 0 or b"killed" in result.stdout
    except SandboxError:
        assert not host.has("pid namespace")  # an evaluator retries in this case
    assert host.run("print(input())").stdout == b"1 2\n"


def test_program_that_signals_every_process_does_not_affect_later_programs(host):
    if not any(map(host.has, ("pid namespace", "landlock signals", "seccomp"))):
        pytest.skip("no fence confines signals on this host: they would reach all processes of the user")
    host.run("import os, signal\nos.kill(-1, signal.SIGKILL)")
    assert host.run("print(input())").stdout == b"1 2\n"


def test_tracing_and_reading_other_processes_are_refused(host):
    result = host.run(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.getppid()
        assert libc.ptrace(16, parent, 0, 0) == -1
        try: open(f'/proc/{parent}/mem', 'rb')
        except OSError: print('refused')
        """
    )
    assert result.stdout == b"refused\n"


def test_fork_bomb_is_ended_without_leftovers(host):
    with host.sandbox.load_program("import os\nwhile True: os.fork()", Limits(wall_s=1.0, cpu_s=1.0)) as program:
        program.run(b"")
    assert host.run("print(input())").stdout == b"1 2\n"


def test_strict_rejects_a_host_with_a_missing_fence(monkeypatch):
    with pytest.raises(SandboxError, match="this host does not support seccomp"):
        Sandbox(without=("seccomp",), strict=True).start()
    monkeypatch.setattr(judging, "Sandbox", partial(Sandbox, without=("seccomp",)))
    with Evaluator() as evaluator:
        assert "seccomp" in evaluator.missing
    with pytest.raises(SandboxError, match="seccomp"):
        Evaluator(strict=True)


def test_strict_accepts_a_host_with_all_fences():
    with Sandbox() as sandbox:
        if sandbox.missing_fences:
            pytest.skip(f"this host refuses {', '.join(sandbox.missing_fences)}")
    with Evaluator(strict=True) as evaluator:
        assert evaluator.missing == ()


UNPRIVILEGED_SCRIPT = """
import os, sys
os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
sys.path.insert(0, sys.argv[1])
from evaluator import Evaluator, Problem, ProblemTest
problem = Problem(
    question_id="q",
    question_title="",
    question_content="",
    platform="other",
    difficulty=None,
    contest_date=None,
    starter_code="",
    public_tests=(ProblemTest("1", "1"),),
    private_tests=(),
)
with Evaluator() as evaluator:
    for code in ("print(input())", "print(2)", "import os\\nos.kill(-1, 9)", "print(input())"):
        print(evaluator.evaluate(problem, code).passed)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch to an unprivileged user")
def test_evaluator_works_without_root(tmp_path):
    package = tmp_path / "evaluator"
    subprocess.run(["cp", "-r", Path(judging.__file__).parent, package], check=True)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)

    def run_with(python):
        command = [python, "-B", "-c", UNPRIVILEGED_SCRIPT, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd="/")

    completed = run_with(sys.executable)
    if completed.returncode != 0:  # this Python may be in a directory that other users cannot read
        completed = run_with("/usr/bin/python3")
    if "Permission" in completed.stderr or "No module named" in completed.stderr:
        pytest.skip(f"no Python on this host is readable by other users: {completed.stderr.splitlines()[-1]}")
    assert completed.stdout.split() == ["True", "False", "False", "True"], completed


def test_scratch_directory_covers_no_library(tmp_path):
    assert choose_scratch(["/usr/lib/python3"]) == "/tmp"
    assert choose_scratch(["/tmp/environment/lib"]) == "/tmp-scratch"
    assert choose_scratch(["/tmp", "/tmp-scratch/lib"]) == "/tmp-scratch-scratch"
    (tmp_path / "link").symlink_to("/tmp")
    assert choose_scratch([str(tmp_path / "link")]) == "/tmp-scratch"


@pytest.mark.parametrize("disabled", [(), ("private root",), NAMESPACES], ids=["all", "no root", "no namespaces"])
@pytest.mark.parametrize("parent", ["/tmp", "/var/tmp", "/dev/shm", "/"])
def test_libraries_anywhere_can_be_imported(parent, disabled, monkeypatch):
    if not os.access(parent, os.W_OK):
        pytest.skip(f"{parent} is not writable")
    with tempfile.TemporaryDirectory(dir=parent) as library:
        Path(library).chmod(0o755)
        Path(library, "found_here.py").write_text("value = 7")
        monkeypatch.setattr(sysconfig, "get_path", lambda _: library)
        with Sandbox(without=disabled) as sandbox, sandbox.load_program(IMPORTING_PROGRAM, LIMITS) as program:
            result = program.run(b"")
    assert (result.stdout, result.stderr) == (b"7 []\n", "")


IMPORTING_PROGRAM = "import os, found_here\nprint(found_here.value, os.listdir('.'))\nopen('file', 'w').write('x')"


def test_unreadable_library_is_an_error_with_its_name(tmp_path, monkeypatch):
    library = tmp_path / "library"
    library.mkdir(mode=0)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(library))
    with pytest.raises(SandboxError, match=str(library)), Sandbox() as sandbox:
        sandbox.start()


@pytest.mark.parametrize("disabled", [(), NAMESPACES], ids=["all fences", "no namespaces"])
def test_installed_copy_of_this_package_cannot_be_read(disabled, tmp_path, monkeypatch):
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    subprocess.run(["cp", "-r", Path(judging.__file__).parent, tmp_path / "evaluator"], check=True)
    (tmp_path / "launch" / "problems").mkdir(parents=True)
    (tmp_path / "launch" / "problems" / "answers.py").write_text("answers = 7")
    (tmp_path / "other.py").write_text("value = 7")
    monkeypatch.setattr(sandbox, "ZYGOTE_SCRIPT", tmp_path / "evaluator" / "inside" / "__main__.py")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    source = f"""
        import os, other
        for name in ('evaluator/sandbox.py', 'evaluator/inside/template.py', 'launch/problems/answers.py'):
            try: print(open(os.path.join({str(tmp_path)!r}, name)).read(9))
            except OSError: print('refused')
        """
    with (
        Sandbox(without=disabled) as other_sandbox,
        other_sandbox.load_program(textwrap.dedent(source), LIMITS) as program,
    ):
        assert program.run(b"").stdout == b"refused\n" * 3


def test_shared_memory_of_the_host_cannot_be_read(host):
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="sandbox-test-") as file:
        os.fchmod(file.fileno(), 0o644)
        result = host.run(f"print(open({file.name!r}).read())")
    assert (result.exit_code != 0) == (host.has("private root") or host.has("landlock"))


def test_tree_of_any_depth_and_permissions_is_removed(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    directory = os.open(root, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 250, dir_fd=directory)
        os.close(os.open("file", os.O_CREAT, dir_fd=directory))
        os.symlink("/", "link", dir_fd=directory)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=directory)
        os.fchmod(directory, 0)
        os.close(directory)
        directory = inner
    os.close(directory)
    remove_tree(str(root))
    assert list(tmp_path.iterdir()) == []


def test_directories_are_listed_without_hidden_ones(tmp_path):
    for name in ("site/package/inner", "site/other", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "site" / "module.py").touch()
    (tmp_path / "site" / "link").symlink_to("/etc")
    site = str(tmp_path / "site")
    listable, readable = list_without(site, [f"{site}/package"])
    assert listable == [site]
    assert sorted(readable) == [f"{site}/module.py", f"{site}/other"]
    assert list_without(str(tmp_path / "elsewhere"), [f"{site}/package"]) == ([], [str(tmp_path / "elsewhere")])
