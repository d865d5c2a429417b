"""Fences: the isolation mechanisms shared by all programs of a worker, built once when its zygote starts.

Mechanisms that the host does not support are recorded by name.
"""

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

NOBODY_UID = 65534
SCRATCH = "/tmp"  # with a private root: a tmpfs created for each program, its working directory
SYSTEM_PATHS = ("/usr/lib", "/usr/lib64", "/usr/bin", "/usr/local/lib", "/lib", "/lib64", "/bin", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYMLINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/shm": SCRATCH,
    "/var/tmp": SCRATCH,
}


@dataclass(kw_only=True)
class Fences:
    """Fences of one zygote.

    Attributes:
        without: names of fences not to build.
        built: names of the fences that were built.
        missing: names of the fences that the host does not support, or that are in ``without``.
    """

    without: tuple[str, ...]
    built: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    scratch_root: str | None = None  # parent of the programs' directories if there is no private root
    seccomp: SeccompFilter | None = None
    signal_seccomp: SeccompFilter | None = None
    signal_rulesets: tuple[int, ...] = ()  # one descriptor if the host supports it, otherwise none

    def attempt(self, name: str, build: Callable[[], object]) -> bool:
        """Build a fence, and return True if that succeeds.

        If the host does not support it, or it is in ``without``, it is recorded as missing, and the result is False.
        """
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
        """Drop root and enter new namespaces. The process forked next is process 1 of the pid namespace."""
        self._drop_root()
        self._enter_namespaces()
        if "private root" in self.without or "mount namespace" not in self.built:
            self.scratch_root = create_private_directory(SCRATCH)

    def build_inside(self) -> None:
        """Build the fences that only process 1 of the new namespaces can build."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if "mount namespace" in self.built:
            self.attempt("private root", lambda: enter_private_root(self))
        else:
            self.missing.append("private root")
        self.attempt("process limit", probe_process_limit)
        self.attempt("no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        self.attempt("landlock", landlock.get_version)
        self.attempt("landlock signals", self._make_signal_ruleset)
        self.attempt("seccomp", self._make_filters)
        # Candidates have the same uid, so otherwise they could trace the cell or read its memory by /proc/1/mem.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)

    def restrict_files(self, scratch: str) -> None:
        """Restrict this process by Landlock's file rules, if Landlock is built. Raises OSError."""
        if "landlock" not in self.built:
            return
        if "private root" in self.built:  # its /dev contains only DEVICES; fewer rules are faster to build
            ruleset = landlock.create_file_ruleset(["/"], [scratch, "/dev"])
        else:
            readable = [*SYSTEM_PATHS, *find_library_paths(), "/proc", "/dev"]
            ruleset = landlock.create_file_ruleset(readable, [scratch, *DEVICES])
        landlock.restrict_self(ruleset)
        os.close(ruleset)

    def _make_signal_ruleset(self) -> None:
        self.signal_rulesets = (landlock.create_signal_ruleset(),)

    def _make_filters(self) -> None:
        self.seccomp = SeccompFilter(deny_signals=False)
        if not self.built & {"pid namespace", "landlock signals"}:
            self.signal_seccomp = SeccompFilter(deny_signals=True)

    def _drop_root(self) -> None:
        """Become nobody, since root is exempt from RLIMIT_NPROC and owns too many files.

        Stays root if nobody could not read the libraries.
        """
        if os.geteuid() != 0:
            return
        if "uid" in self.without or not make_reachable_by(NOBODY_UID, find_library_paths()):
            self.missing.append("uid")
            return
        os.setgroups([])
        os.setresgid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
        os.setresuid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
        # The uid change made this process undumpable: /proc/self would belong to root, the uid map be unwritable.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        self.built.add("uid")

    def _enter_namespaces(self) -> None:
        if not self.attempt("user namespace", enter_user_namespace):
            self.missing += ["pid namespace", "mount namespace", "network namespace", "ipc namespace", "uts namespace"]
            return
        self.attempt("pid namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWPID))
        self.attempt("mount namespace", enter_mount_namespace)
        self.attempt("network namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWNET))
        self.attempt("ipc namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWIPC))
        self.attempt("uts namespace", lambda: kernel.call("unshare", kernel.CLONE_NEWUTS))


def find_library_paths() -> list[str]:
    """Return the directories from which modules are imported."""
    return [path for path in sys.path if os.path.isdir(path)]


def make_reachable_by(uid: int, paths: list[str]) -> bool:
    """Return True if ``uid`` can list ``paths``.

    If necessary, enters a mount namespace in which the parent directories of ``paths`` are accessible.
    """
    if is_readable_by(uid, paths):
        return True
    try:
        enter_mount_namespace()
        open_parent_directories(paths)
    except OSError:
        return False
    return is_readable_by(uid, paths)


def is_readable_by(uid: int, paths: list[str]) -> bool:
    """Return True if ``uid`` can list all of ``paths``. Checked in a child process that switches to this uid."""
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


def enter_mount_namespace() -> None:
    """Enter a new mount namespace whose changes do not propagate to the host."""
    kernel.call("unshare", kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def is_below(path: str, directory: str) -> bool:
    """Return True if ``path`` is ``directory`` or inside it. Both must be absolute."""
    return os.path.commonpath([path, directory]) == directory


def cover_with_tmpfs(directory: str, kept_paths: list[str]) -> None:
    """Hide ``directory`` under an empty tmpfs.

    Directories of ``kept_paths`` inside it remain accessible at the same paths.
    """
    inside = [path for path in kept_paths if is_below(path, directory)]
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


def open_parent_directories(paths: list[str]) -> None:
    """Make ``paths`` reachable for other users by covering the first parent they may not enter, such as a 0700 home."""
    for path in paths:
        parts = path.split("/")
        for depth in range(2, len(parts) + 1):
            ancestor = "/".join(parts[:depth])
            if not os.stat(ancestor).st_mode & stat.S_IXOTH:
                cover_with_tmpfs(ancestor, paths)
                break


def enter_user_namespace() -> None:
    """Enter a new user namespace in which this process keeps its uid and gid."""
    uid = os.geteuid()
    gid = os.getegid()
    kernel.call("unshare", kernel.CLONE_NEWUSER)
    kernel.write_file("/proc/self/setgroups", "deny")
    kernel.write_file("/proc/self/uid_map", f"{uid} {uid} 1")
    kernel.write_file("/proc/self/gid_map", f"{gid} {gid} 1")


def enter_private_root(fences: Fences) -> None:
    """Change to a read-only root with libraries, a few devices and its own /proc, and nothing else of the host.

    Problem files, home directories, sockets and command lines of the host are then out of reach.
    """
    libraries = find_library_paths()
    paths = select_outermost([*SYSTEM_PATHS, *libraries, *map(os.path.realpath, libraries)]) + list(DEVICES)
    links = {path: os.readlink(path) for path in paths if os.path.islink(path)} | SYMLINKS
    # Opened before the new root covers SCRATCH, because the libraries may be in there.
    sources = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in paths if path not in links]
    base = SCRATCH
    kernel.mount("tmpfs", base, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    for path, handle in sources:
        bind_mount(handle, base + path)
        os.close(handle)
    for path, link_target in links.items():
        os.makedirs(os.path.dirname(base + path), mode=0o755, exist_ok=True)
        os.symlink(link_target, base + path)
    for path in (SCRATCH, "/proc", "/old"):
        os.makedirs(base + path, mode=0o755, exist_ok=True)
    hide_evaluator_package(base)
    # The host's /proc must still be visible, or the kernel refuses to mount a new one.
    fences.attempt("private /proc", lambda: mount_proc(base + "/proc"))
    os.chdir(base)
    kernel.call("syscall", kernel.SYS_PIVOT_ROOT[os.uname().machine], b".", b"old")
    os.chdir("/")
    kernel.unmount("/old")
    os.rmdir("/old")
    if "private /proc" in fences.built:
        fences.attempt("no nested namespaces", lambda: kernel.write_file("/proc/sys/user/max_user_namespaces", "0"))
    kernel.make_read_only("/")


def select_outermost(paths: list[str]) -> list[str]:
    """Return the existing directories among ``paths``, without duplicates and without those inside another one."""
    existing = [path for path in dict.fromkeys(paths) if os.path.isdir(path)]
    return [path for path in existing if not any(is_below(path, other) and path != other for other in existing)]


def bind_mount(handle: int, target: str) -> None:
    """Bind an open file or directory to the path ``target``, which is created."""
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(f"/proc/self/fd/{handle}", target, None, kernel.MS_BIND | kernel.MS_REC)


def hide_evaluator_package(base: str) -> None:
    """Cover an installed copy of this package among the libraries, since its problem sets contain solutions."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.isdir(base + package):
        kernel.mount("tmpfs", base + package, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=4k")


def mount_proc(target: str) -> None:
    """Mount a /proc of the own pid namespace, where a process sees only processes that it could trace.

    It could trace neither cell nor template.
    """
    kernel.mount("proc", target, "proc", kernel.MS_NOSUID | kernel.MS_NODEV, "hidepid=ptraceable")


def can_fork_with_limit(limit: int) -> bool:
    """Return True if a process whose RLIMIT_NPROC is ``limit`` can fork."""
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
    """Raise OSError if RLIMIT_NPROC does not bind (root) or counts all processes of the user (Linux before 5.14)."""
    if can_fork_with_limit(1) or not can_fork_with_limit(32):
        raise OSError("RLIMIT_NPROC does not count the processes of this namespace")


def create_private_directory(parent: str) -> str:
    """Create a directory with a random name, accessible only to this user.

    Not by ``tempfile``, whose imported libraries would slow down every fork.
    """
    path = os.path.join(parent, os.urandom(8).hex())
    os.mkdir(path, 0o700)
    return path


class ScratchDirectory:
    """Working directory of programs: created empty for each program, and removed afterwards."""

    def __init__(self, fences: Fences) -> None:
        self._root = fences.scratch_root or SCRATCH
        self._private = "private root" in fences.built
        self._path: str | None = None

    def make(self, size: int) -> str:
        """Create an empty directory and return its path. With a private root, it holds at most ``size`` bytes."""
        self.remove()
        if self._private:
            options = f"mode=0777,size={size},nr_inodes=1024"
            kernel.mount("tmpfs", SCRATCH, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
            self._path = SCRATCH
        else:
            self._path = create_private_directory(self._root)
        return self._path

    def remove(self) -> None:
        """Remove the directory of the last program."""
        if self._path is None:
            return
        if self._private:
            kernel.unmount(SCRATCH)
        else:
            remove_tree(self._path)
        self._path = None


def remove_tree(path: str) -> None:
    """Remove a directory tree of any depth and any permissions, as an untrusted program may have left it.

    Raises OSError on failure.
    """
    os.chmod(path, 0o700)
    pending = [path]
    while pending:
        directory = pending.pop()
        with contextlib.suppress(FileNotFoundError):
            subdirectories = []
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    subdirectories.append(entry.path)
                else:
                    os.unlink(entry.path)
            if subdirectories:
                for inner in subdirectories:
                    os.chmod(inner, 0o700)
                pending += [directory, *subdirectories]
            else:
                os.rmdir(directory)
