"""Fences: the isolation mechanisms shared by all programs of a worker, built once when its zygote starts.

Mechanisms that the host does not support are recorded by name.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from evaluator.inside import kernel, landlock
from evaluator.inside.seccomp import SeccompFilter, build_rules, build_signal_rules

FIRST_UID = 61184  # of those that systemd reserves for services without an account
UID_COUNT = 4336
TEMPORARY_DIRECTORY = "/tmp"
SYSTEM_PATHS = ("/usr/lib", "/usr/lib64", "/usr/bin", "/usr/local/lib", "/lib", "/lib64", "/bin", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYMLINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
SCRATCH_SYMLINKS = ("/dev/shm", "/var/tmp")  # lead to the scratch directory


@dataclass(kw_only=True)
class Fences:
    """Fences of one zygote.

    Attributes:
        without: names of fences not to build.
        built: names of the fences that were built.
        missing: names of the fences that the host does not support, or that are in ``without``.
        libraries: directories from which modules are imported.
        scratch: with a private root: the programs' working directory, a tmpfs created for each program.
        scratch_root: parent of the programs' working directories if there is no private root.
    """

    without: tuple[str, ...]
    built: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    scratch: str = TEMPORARY_DIRECTORY
    scratch_root: str | None = None
    seccomp: SeccompFilter | None = None
    signal_seccomp: SeccompFilter | None = None
    file_ruleset: int | None = None  # descriptor of Landlock's rules for all programs if there is no private root
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
        self.libraries = find_library_paths()
        self.scratch = choose_scratch(self.libraries)
        self._drop_root()
        self._enter_namespaces()
        if "private root" in self.without or "mount namespace" not in self.built:
            self.scratch_root = create_private_directory(TEMPORARY_DIRECTORY)

    def build_inside(self) -> None:
        """Build the fences that only process 1 of the new namespaces can build."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if "mount namespace" in self.built:
            self.attempt("private root", lambda: enter_private_root(self))
        else:
            self.missing.append("private root")
        self.attempt("process limit", self._probe_process_limit)
        self.attempt("no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        self.attempt("landlock", self._prepare_file_rules)
        self.attempt("landlock signals", self._make_signal_ruleset)
        self.attempt("seccomp", self._make_filters)
        # Candidates have the same uid, so otherwise they could trace the cell or read its memory by /proc/1/mem.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)

    def restrict_files(self, scratch: str) -> None:
        """Restrict this process by Landlock's file rules, if Landlock is built. Raises OSError."""
        if "landlock" not in self.built:
            return
        if self.file_ruleset is not None:
            landlock.restrict_self(self.file_ruleset)
        # The /dev of a private root contains only DEVICES; fewer rules are faster to build.
        devices = DEVICES if self.file_ruleset is not None else ("/dev",)
        ruleset = landlock.create_file_ruleset(["/"], [scratch, *devices])
        landlock.restrict_self(ruleset)
        os.close(ruleset)

    def find_unreadable_libraries(self) -> list[str]:
        """Return those of ``libraries`` that programs, which have no capabilities, cannot read."""
        return [path for path in self.libraries if not is_readable_without_capabilities(path)]

    def _probe_process_limit(self) -> None:
        if not self.built & {"user namespace", "uid"}:
            raise OSError("RLIMIT_NPROC counts all processes of the user")
        probe_process_limit()

    def _prepare_file_rules(self) -> None:
        landlock.get_version()
        if "private root" in self.built:
            return
        hidden = find_hidden_packages()
        listable: list[str] = []
        readable = ["/proc"]
        for path in dict.fromkeys([*SYSTEM_PATHS, *self.libraries, find_interpreter()]):
            listable_inside, readable_inside = list_without(path, hidden)
            listable += listable_inside
            readable += readable_inside
        parent = self.scratch_root or TEMPORARY_DIRECTORY
        self.file_ruleset = landlock.create_file_ruleset(readable, [parent, *DEVICES], listable)

    def _make_signal_ruleset(self) -> None:
        self.signal_rulesets = (landlock.create_signal_ruleset(),)

    def _make_filters(self) -> None:
        self.seccomp = SeccompFilter(build_rules())
        if not self.built & {"pid namespace", "landlock signals"}:
            self.signal_seccomp = SeccompFilter(build_signal_rules(None))

    def make_template_filter(self) -> SeccompFilter | None:
        """Return the filter for signals of the programs of the calling template, or None if they need none."""
        if self.seccomp is None or "landlock signals" in self.built:
            return None
        if self.signal_seccomp is not None:
            return self.signal_seccomp
        return SeccompFilter(build_signal_rules((1, os.getpid())))

    def _drop_root(self) -> None:
        """Become an unprivileged user, since root is exempt from RLIMIT_NPROC and owns too many files.

        Each sandbox has a user of its own, because the kernel limits the memory of all pipes of a user together. Stays
        root if that user could not read the libraries.
        """
        if os.geteuid() != 0:
            return
        uid = FIRST_UID + os.getpid() % UID_COUNT
        if "uid" in self.without or not make_reachable_by(uid, [*self.libraries, find_interpreter()]):
            self.missing.append("uid")
            return
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
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


def find_interpreter() -> str:
    """Return the path of this interpreter's file, which programs execute for multiprocessing's method ``spawn``."""
    return os.path.realpath(sys.executable)


def choose_scratch(libraries: list[str]) -> str:
    """Return the path of the programs' working directory in a private root, which must not cover a library."""
    path = TEMPORARY_DIRECTORY
    while any(is_below(library, path) for library in [*libraries, *map(os.path.realpath, libraries)]):
        path += "-scratch"
    return path


def find_hidden_packages() -> list[str]:
    """Return the directories of an installed copy of this project that contain problems with solutions."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    launch = os.path.join(os.path.dirname(package), "launch")
    return [package, *([launch] if os.path.isdir(os.path.join(launch, "problems")) else [])]


def list_without(directory: str, hidden: list[str]) -> tuple[list[str], list[str]]:
    """Divide ``directory`` into directories whose names may be listed and paths that may be read.

    Together they are everything in ``directory`` except ``hidden``.
    """
    if not any(is_below(path, directory) for path in hidden):
        return [], [directory]
    if directory in hidden or not os.path.isdir(directory):
        return [], []
    listable = [directory]
    readable: list[str] = []
    for entry in os.scandir(directory):
        if not entry.is_symlink():  # a rule would apply to the target of the link, which may be anywhere
            listable_inside, readable_inside = list_without(entry.path, hidden)
            listable += listable_inside
            readable += readable_inside
    return listable, readable


def make_reachable_by(uid: int, paths: list[str]) -> bool:
    """Return True if ``uid`` can reach all of ``paths`` and list the directories among them.

    If necessary, enters a mount namespace in which the parent directories of ``paths`` are accessible.
    """
    if can_reach(uid, paths):
        return True
    try:
        enter_mount_namespace()
        open_parent_directories(paths)
    except OSError:
        return False
    return can_reach(uid, paths)


def can_reach(uid: int, paths: list[str]) -> bool:
    """Return True if ``uid`` can reach all of ``paths`` and list the directories among them.

    Checked in a child process that switches to this uid.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            for path in paths:
                if stat.S_ISDIR(os.stat(path).st_mode):
                    os.listdir(path)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def is_readable_without_capabilities(path: str) -> bool:
    """Return True if a process without capabilities can list ``path``. Checked in a child process."""
    pid = os.fork()
    if pid == 0:
        try:
            kernel.drop_capabilities()
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
            bind_mount(handle, path)
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
    libraries = fences.libraries
    paths = select_outermost([*SYSTEM_PATHS, *libraries, *map(os.path.realpath, libraries)]) + list(DEVICES)
    interpreter = find_interpreter()
    if not any(is_below(interpreter, path) for path in paths):
        paths.append(interpreter)
    links = {path: os.readlink(path) for path in paths if os.path.islink(path)}
    # Opened before the new root covers its own path, because the libraries may be in there.
    sources = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in paths if path not in links]
    hidden = find_hidden_packages()
    base = TEMPORARY_DIRECTORY
    kernel.mount("tmpfs", base, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    for path, handle in sources:
        bind_mount(handle, base + path)
        os.close(handle)
    links |= SYMLINKS | dict.fromkeys(SCRATCH_SYMLINKS, fences.scratch) | {sys.executable: interpreter}
    for path, link_target in links.items():
        if not os.path.lexists(base + path):  # otherwise there are libraries below this path
            os.makedirs(os.path.dirname(base + path), mode=0o755, exist_ok=True)
            os.symlink(link_target, base + path)
    for path in (fences.scratch, "/proc"):
        os.makedirs(base + path, mode=0o755, exist_ok=True)
    hide_packages(base, hidden)
    # The host's /proc must still be visible, or the kernel refuses to mount a new one.
    fences.attempt("private /proc", lambda: mount_proc(base + "/proc"))
    os.chdir(base)
    # The old root is put on top of the new one, as pivot_root(2) describes, and then detached.
    kernel.call("syscall", kernel.SYS_PIVOT_ROOT[os.uname().machine], b".", b".")
    kernel.unmount(".")
    os.chdir("/")
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


def hide_packages(base: str, hidden: list[str]) -> None:
    """Cover installed packages of this project among the libraries, since its problem sets contain solutions."""
    for package in hidden:
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
        self._root = fences.scratch_root or TEMPORARY_DIRECTORY
        self._mount_point = fences.scratch if "private root" in fences.built else None
        self._path: str | None = None

    def make(self, size: int) -> str:
        """Create an empty directory and return its path. With a private root, it holds at most ``size`` bytes."""
        self.remove()
        if self._mount_point is not None:
            options = f"mode=0777,size={size},nr_inodes=1024"
            kernel.mount("tmpfs", self._mount_point, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
            self._path = self._mount_point
        else:
            self._path = create_private_directory(self._root)
        return self._path

    def remove(self) -> None:
        """Remove the directory of the last program."""
        if self._path is None:
            return
        if self._mount_point is not None:
            kernel.unmount(self._mount_point)
        else:
            remove_tree(self._path)
        self._path = None


def remove_tree(path: str) -> None:
    """Remove a directory tree of any depth and any permissions, as an untrusted program may have left it.

    Inner directories are moved to the top before they are emptied, since their paths may be longer than the kernel
    accepts, and their number larger than that of descriptors or stack frames. Raises OSError on failure.
    """
    os.chmod(path, 0o700)
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        while names := empty_directory(root, root):
            for name in names:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
                try:
                    empty_directory(inner, root)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=root)
    finally:
        os.close(root)
    os.rmdir(path)


def empty_directory(directory: int, target: int) -> list[str]:
    """Delete the files of an open directory, and move its directories into the open directory ``target``.

    Returns the names of these directories in ``target``.
    """
    names = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=directory)
                continue
            os.chmod(entry.name, 0o700, dir_fd=directory)  # to move a directory, its parent's entry in it is written
            names.append(entry.name)
            if directory != target:
                names[-1] = os.urandom(8).hex()
                os.rename(entry.name, names[-1], src_dir_fd=directory, dst_dir_fd=target)
    return names
