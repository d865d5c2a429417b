"""The fences that a worker's programs share, built once at its start; what the host refuses is noted by name."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from evaluator.inside import kernel, landlock
from evaluator.inside.seccomp import SeccompFilter

NOBODY = 65534
SCRATCH = "/tmp"  # of a private root: a tmpfs that is made anew for each program, its working directory
SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/bin", "/usr/local/lib", "/lib", "/lib64", "/bin", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/shm": SCRATCH,
    "/var/tmp": SCRATCH,
}


@dataclass(kw_only=True)
class Fences:
    """``built`` and ``missing`` name what stands and what the host refused (or ``without`` left out)."""

    without: tuple[str, ...]
    built: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    scratch_root: str | None = None  # where programs get their directories if there is no private root
    seccomp: SeccompFilter | None = None
    signal_seccomp: SeccompFilter | None = None
    signal_rulesets: tuple[int, ...] = ()  # one, where the host has it

    def attempt(self, name: str, build: Callable[[], object]) -> bool:
        """Run ``build``; False, and the name noted, when the host refuses it or we were asked to leave it out."""
        try:
            if name in self.without:
                raise PermissionError(name)
            build()
        except OSError:
            self.missing.append(name)
            return False
        self.built.add(name)
        return True

    def build_outside(self) -> None:
        """Lose root and enter new namespaces; the process forked next is process 1 of the pid namespace."""
        self._drop_root()
        self._enter_namespaces()
        if "private root" in self.without or "mount namespace" not in self.built:
            self.scratch_root = new_directory(SCRATCH)

    def build_inside(self) -> None:
        """What only process 1 of the new namespaces can build."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if "mount namespace" in self.built:
            self.attempt("private root", lambda: enter_private_root(self))
        else:
            self.missing.append("private root")
        self.attempt("process limit", probe_process_limit)
        self.attempt("no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        self.attempt("landlock", landlock.version)
        self.attempt("landlock signals", self._make_signal_ruleset)
        self.attempt("seccomp", self._make_filters)
        # Same uid, so without this a candidate could trace the cell or read its memory through /proc/1/mem.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)

    def restrict_files(self, scratch: str) -> None:
        """Put this process behind Landlock's rules for files, if they are built. Raises OSError."""
        if "landlock" not in self.built:
            return
        if "private root" in self.built:  # whose /dev has no more than DEVICES; fewer rules are built faster
            ruleset = landlock.file_ruleset(["/"], [scratch, "/dev"])
        else:
            ruleset = landlock.file_ruleset([*SYSTEM, *library_paths(), "/proc", "/dev"], [scratch, *DEVICES])
        landlock.restrict_self(ruleset)
        os.close(ruleset)

    def _make_signal_ruleset(self) -> None:
        self.signal_rulesets = (landlock.signal_ruleset(),)

    def _make_filters(self) -> None:
        self.seccomp = SeccompFilter(deny_signals=False)
        if not self.built & {"pid namespace", "landlock signals"}:
            self.signal_seccomp = SeccompFilter(deny_signals=True)

    def _drop_root(self) -> None:
        """Become nobody: root escapes RLIMIT_NPROC and owns too many files. Stays root if the library would be lost."""
        if os.geteuid() != 0:
            return
        if "uid" in self.without or not reachable_by(NOBODY, library_paths()):
            self.missing.append("uid")
            return
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        # Changing uid made us undumpable, so /proc/self would belong to root and the uid map could not be written.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        self.built.add("uid")

    def _enter_namespaces(self) -> None:
        if not self.attempt("user namespace", new_user_namespace):
            self.missing += ["pid namespace", "mount namespace", "network namespace", "ipc namespace", "uts namespace"]
            return
        self.attempt("pid namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWPID))
        self.attempt("mount namespace", private_mounts)
        self.attempt("network namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWNET))
        self.attempt("ipc namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWIPC))
        self.attempt("uts namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWUTS))


def library_paths() -> list[str]:
    """The directories that imports need."""
    return [path for path in sys.path if os.path.isdir(path)]


def reachable_by(uid: int, paths: list[str]) -> bool:
    """Whether ``uid`` can list ``paths``, if need be in a mount namespace that uncovers them (then entered)."""
    if readable_by(uid, paths):
        return True
    try:
        private_mounts()
        open_closed_parents(paths)
    except OSError:
        return False
    return readable_by(uid, paths)


def readable_by(uid: int, paths: list[str]) -> bool:
    """Whether ``uid`` could list all of ``paths``; asked in a child, as only a process of that uid can know."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            for path in paths:
                os.listdir(path)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def private_mounts() -> None:
    """A mount namespace of our own, whose changes do not travel back to the host."""
    kernel.call("unshare", kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies in it; both absolute."""
    return os.path.commonpath([path, directory]) == directory


def cover(directory: str, keep: list[str]) -> None:
    """Mount an empty tmpfs on ``directory``, with those of ``keep`` that lie beneath it still at their old paths."""
    inside = [path for path in keep if is_below(path, directory)]
    inside = [path for path in inside if not any(is_below(path, other) and path != other for other in inside)]
    handles = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside]
    try:
        kernel.mount("tmpfs", directory, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=64k")
        for path, handle in zip(inside, handles, strict=True):
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                os.makedirs(path, mode=0o755)
                kernel.mount(f"/proc/self/fd/{handle}", path, None, kernel.MS_BIND | kernel.MS_REC)
    finally:
        for handle in handles:
            os.close(handle)


def open_closed_parents(paths: list[str]) -> None:
    """Make ``paths`` reachable for others by covering the first ancestor they may not enter (say a 0700 home)."""
    for path in paths:
        parts = path.split("/")
        for depth in range(2, len(parts) + 1):
            ancestor = "/".join(parts[:depth])
            if not os.stat(ancestor).st_mode & stat.S_IXOTH:
                cover(ancestor, paths)
                break


def new_user_namespace() -> None:
    """A user namespace in which our own uid and gid keep their numbers."""
    uid = os.geteuid()
    gid = os.getegid()
    kernel.call("unshare", kernel.CLONE_NEWUSER)
    kernel.write_file("/proc/self/setgroups", "deny")
    kernel.write_file("/proc/self/uid_map", f"{uid} {uid} 1")
    kernel.write_file("/proc/self/gid_map", f"{gid} {gid} 1")


def enter_private_root(fences: Fences) -> None:
    """Change to a read-only root that holds libraries, a few devices and a /proc of our own, and nothing of the host's.

    So no problem file, home directory, socket or command line of the host is there to be found.
    """
    paths = outermost([*SYSTEM, *library_paths(), *map(os.path.realpath, library_paths())]) + list(DEVICES)
    links = {path: os.readlink(path) for path in paths if os.path.islink(path)} | LINKS
    # Opened before the new root covers what lies in SCRATCH, which may be where the libraries are.
    shown = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in paths if path not in links]
    base = SCRATCH
    kernel.mount("tmpfs", base, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    for path, handle in shown:
        show(handle, base + path)
        os.close(handle)
    for path, goal in links.items():
        os.makedirs(os.path.dirname(base + path), mode=0o755, exist_ok=True)
        os.symlink(goal, base + path)
    for path in (SCRATCH, "/proc", "/old"):
        os.makedirs(base + path, mode=0o755, exist_ok=True)
    hide_this_package(base)
    # The host's /proc must still be in view: without it the kernel allows no new one.
    fences.attempt("private /proc", lambda: mount_proc(base + "/proc"))
    os.chdir(base)
    kernel.call("syscall", kernel.SYS_PIVOT_ROOT[os.uname().machine], b".", b"old")
    os.chdir("/")
    kernel.unmount("/old")
    os.rmdir("/old")
    if "private /proc" in fences.built:
        fences.attempt("no nested namespaces", lambda: kernel.write_file("/proc/sys/user/max_user_namespaces", "0"))
    kernel.make_read_only("/")


def outermost(paths: list[str]) -> list[str]:
    """The directories among ``paths`` that exist, each once, without those inside another."""
    found = [path for path in dict.fromkeys(paths) if os.path.isdir(path)]
    return [path for path in found if not any(is_below(path, other) and path != other for other in found)]


def show(handle: int, target: str) -> None:
    """Bind an open file or directory to ``target``, which is made for it."""
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(f"/proc/self/fd/{handle}", target, None, kernel.MS_BIND | kernel.MS_REC)


def hide_this_package(base: str) -> None:
    """An installed copy of this package lies among the libraries; its problem sets hold solutions."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.isdir(base + package):
        kernel.mount("tmpfs", base + package, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=4k")


def mount_proc(target: str) -> None:
    """A /proc of our pid namespace; a process sees in it only what it could trace: neither cell nor template."""
    kernel.mount("proc", target, "proc", kernel.MS_NOSUID | kernel.MS_NODEV, "hidepid=ptraceable")


def may_fork_under(limit: int) -> bool:
    """Whether a process of ours whose RLIMIT_NPROC is ``limit`` can fork."""
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
            if os.fork() > 0:
                os.wait()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def probe_process_limit() -> None:
    """Raise OSError where RLIMIT_NPROC does not bind (root), or counts all of the user's processes (Linux < 5.14)."""
    if may_fork_under(1) or not may_fork_under(32):
        raise OSError("RLIMIT_NPROC does not count the processes of this namespace")


def new_directory(parent: str) -> str:
    """A directory for us alone, by a name that nobody expects. Not by ``tempfile``: its libraries slow every fork."""
    path = os.path.join(parent, os.urandom(8).hex())
    os.mkdir(path, 0o700)
    return path


class Scratch:
    """The working directory of programs: empty for each, gone or replaced afterwards."""

    def __init__(self, fences: Fences) -> None:
        self._root = fences.scratch_root or SCRATCH
        self._private = "private root" in fences.built
        self._path: str | None = None

    def make(self, size: int) -> str:
        """An empty directory that holds at most ``size`` bytes (where a private root lets it be limited)."""
        self.remove()
        if self._private:
            options = f"mode=0777,size={size},nr_inodes=1024"
            kernel.mount("tmpfs", SCRATCH, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
            self._path = SCRATCH
        else:
            self._path = new_directory(self._root)
        return self._path

    def remove(self) -> None:
        """Drop what the last program left."""
        if self._path is None:
            return
        if self._private:
            kernel.unmount(SCRATCH)
        else:
            remove_tree(self._path)
        self._path = None


def remove_tree(path: str) -> None:
    """Remove a directory that a candidate filled: any depth, any permissions. Raises OSError if it cannot."""
    os.chmod(path, 0o700)
    pending = [path]
    while pending:
        directory = pending.pop()
        with contextlib.suppress(FileNotFoundError):
            below = []
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    os.unlink(entry.path)
            if below:
                for inner in below:
                    os.chmod(inner, 0o700)
                pending += [directory, *below]
            else:
                os.rmdir(directory)
