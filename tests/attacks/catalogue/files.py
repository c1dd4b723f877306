"""Host files: read, written, linked, listed; what is open or set before the submission starts."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import forewarn
from tests.attacks.attack import Attack, Outcome, Stage, by_evidence, by_its_word, needs_root
from tests.attacks.catalogue import processes

FAMILY = "files"
ROOT_OR_LANDLOCK = ("own root", "Landlock")
PACKAGES = str(Path(os.__file__).with_name("site-packages"))
BESIDE = "/usr/lib/os-release"
LONG_UNREAD = Path(os.__file__).with_name("this.py")
OTHER_PROCESS = ("own root", "Landlock", "user namespace", "no capabilities")


def attempt(action: str, header: str = "import os") -> str:
    """A submission that tries ``action`` on its argument ``path`` and says "through" unless it is refused."""
    return f"""
{header}
def solve(path):
    try:
        {action}
    except (OSError, ValueError):
        return "stopped"
    return "through"
"""


@contextlib.contextmanager
def secret_file(folder: Path) -> Iterator[Stage]:
    path = folder / "secret"
    path.write_text("42")
    before = path.stat()

    def changed() -> bool:
        if not path.exists() or path.read_text() != "42":
            return True
        after = path.stat()
        return (after.st_mode, after.st_mtime, after.st_nlink) != (before.st_mode, before.st_mtime, before.st_nlink)

    yield Stage((str(path),), changed)


@contextlib.contextmanager
def new_file(folder: Path) -> Iterator[Stage]:
    path = folder / "new"
    yield Stage((str(path),), path.exists)


@contextlib.contextmanager
def in_shared_memory(folder: Path) -> Iterator[Stage]:
    path = Path("/dev/shm") / f"forewarn-{secrets.token_hex(8)}"
    try:
        yield Stage((str(path),), path.exists)
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def own_process(folder: Path) -> Iterator[Stage]:
    yield Stage((f"/proc/{os.getpid()}",))


@contextlib.contextmanager
def open_secret(folder: Path) -> Iterator[Stage]:
    path = folder / "secret"
    path.write_text("secret-4711")
    with path.open() as file:
        high = os.dup2(file.fileno(), 50, inheritable=True)
        try:
            yield Stage()
        finally:
            os.close(high)


@contextlib.contextmanager
def secret_variable(folder: Path) -> Iterator[Stage]:
    os.environ["FOREWARN_TEST_SECRET"] = "4711"
    try:
        yield Stage()
    finally:
        del os.environ["FOREWARN_TEST_SECRET"]


@contextlib.contextmanager
def path_of(path: str) -> Iterator[Stage]:
    yield Stage((path,))


@contextlib.contextmanager
def never_read(folder: Path) -> Iterator[Stage]:
    """A file of the standard library that was last read long before it was written."""
    before = LONG_UNREAD.stat()
    os.utime(LONG_UNREAD, (0, before.st_mtime))
    try:
        yield Stage((str(LONG_UNREAD),), lambda: LONG_UNREAD.stat().st_atime > 0)
    finally:
        os.utime(LONG_UNREAD, (before.st_atime, before.st_mtime))


def access_times_are_kept() -> str | None:
    if not os.access(LONG_UNREAD, os.W_OK):
        return "this user may not write the standard library, so can't prepare an access time"
    with never_read(LONG_UNREAD) as stage:
        LONG_UNREAD.read_text(encoding="utf-8")
        return None if stage.seen() else "the disk of the standard library keeps no access times"


def packages_exist() -> str | None:
    there = Path(PACKAGES).is_dir() and any(Path(PACKAGES).iterdir())
    return None if there else "this interpreter has no packages installed"


def beside_exists() -> str | None:
    return None if os.access(BESIDE, os.R_OK) else f"this machine has no {BESIDE}"


def library_is_writable() -> str | None:
    return None if os.access(os.__file__, os.W_OK) else "this user may not write the standard library anyway"


def shared_memory_exists() -> str | None:
    return None if os.access("/dev/shm", os.W_OK) else "this machine has no /dev/shm"


def dumped_core(outcome: Outcome) -> bool:
    assert outcome.execution is not None, outcome.fault
    assert outcome.execution.signal is not None, "it did not crash"
    return outcome.execution.dumped_core


ATTACKS = (
    Attack(
        "reads a host file", FAMILY,
        attempt('assert open(path).read() == "42"'),
        by_its_word, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "lists a host folder", FAMILY,
        attempt('assert "secret" in os.listdir(os.path.dirname(path))'),
        by_its_word, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "reads the list of users", FAMILY,
        attempt("assert open(path).read()"),
        by_its_word, ROOT_OR_LANDLOCK, stage=lambda folder: path_of("/etc/passwd"),
    ),
    Attack(
        "reads the judge's source", FAMILY,
        attempt('assert "Verdict" in open(path).read()'),
        by_its_word, ROOT_OR_LANDLOCK,
        stage=lambda folder: path_of(str(Path(forewarn.__file__).parent / "judge" / "judge.py")),
    ),
    Attack(
        "writes a new host file", FAMILY,
        attempt('open(path, "w").write("hello")'),
        by_evidence, ROOT_OR_LANDLOCK, stage=new_file,
    ),
    Attack(
        "overwrites a host file", FAMILY,
        attempt('open(path, "w").write("hello")'),
        by_evidence, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "truncates a host file", FAMILY,
        attempt("os.truncate(path, 0)"),
        by_evidence, (*ROOT_OR_LANDLOCK, "system call filter"), stage=secret_file,
    ),
    Attack(
        "empties a host file that it opens neither to read nor to write", FAMILY,
        attempt("os.close(os.open(path, os.O_ACCMODE | os.O_TRUNC))"),
        by_evidence, (*ROOT_OR_LANDLOCK, "system call filter"), stage=secret_file,
    ),
    Attack(
        "removes a host file", FAMILY,
        attempt("os.unlink(path)"),
        by_evidence, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "renames a host file", FAMILY,
        attempt('os.rename(path, path + "-moved")'),
        by_evidence, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "changes the mode of a host file", FAMILY,
        attempt("os.chmod(path, 0o777)"),
        by_evidence, ("own root", "system call filter"), stage=secret_file,
    ),
    Attack(
        "changes the times of a host file", FAMILY,
        attempt("os.utime(path, (1, 1))"),
        by_evidence, ("own root", "system call filter"), stage=secret_file,
    ),
    Attack(
        "opens the standard library for writing", FAMILY,
        attempt("os.close(os.open(os.__file__, os.O_WRONLY))"),
        by_its_word, ROOT_OR_LANDLOCK, stage=lambda folder: path_of(""), possible=library_is_writable,
    ),
    Attack(
        "follows a symbolic link out", FAMILY,
        attempt('os.symlink(path, "link"); assert open("link").read() == "42"'),
        by_its_word, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "hard-links a host file", FAMILY,
        attempt('os.link(path, path + "-link")'),
        by_evidence, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "climbs out by dots", FAMILY,
        attempt('assert open("../" * 30 + path).read() == "42"'),
        by_its_word, ROOT_OR_LANDLOCK, stage=secret_file,
    ),
    Attack(
        "leaves a file in shared memory", FAMILY,
        attempt('open(path, "w").close()'),
        by_evidence, ROOT_OR_LANDLOCK, stage=in_shared_memory, possible=shared_memory_exists,
    ),
    Attack(
        "finds the machine's processes in /proc", FAMILY,
        attempt('assert any(name.isdigit() for name in os.listdir("/proc"))'),
        by_its_word, ROOT_OR_LANDLOCK, stage=lambda folder: path_of(""),
    ),
    Attack(
        "reads the parent's environment in /proc", FAMILY,
        attempt('assert b"=" in open(path + "/environ", "rb").read()'),
        by_its_word, OTHER_PROCESS, stage=own_process, possible=needs_root,
    ),
    Attack(
        "opens the parent's memory in /proc", FAMILY,
        attempt('open(path + "/mem", "rb").close()'),
        by_its_word, OTHER_PROCESS, stage=own_process, possible=needs_root,
    ),
    Attack(
        "lists installed packages", FAMILY, processes.attempt("assert os.listdir(args[0])"),
        by_its_word, ("bare library",), stage=lambda folder: path_of(PACKAGES), possible=packages_exist,
    ),
    Attack(
        "reads a file that lies beside the libraries", FAMILY, attempt("open(path).read()"),
        by_its_word, ("bare library",), stage=lambda folder: path_of(BESIDE), possible=beside_exists,
    ),
    Attack(
        "leaves an access time", FAMILY, attempt("open(path).read()"),
        by_evidence, ("own root",), stage=never_read, possible=access_times_are_kept,
    ),
    Attack(
        "reads a file that the parent has open", FAMILY,
        """
        import os
        def solve():
            for handle in range(4, 100):
                try:
                    if b"secret-4711" in os.pread(handle, 100, 0):
                        return "through"
                except OSError:
                    pass
            return "stopped"
        """,
        by_its_word, ("closed descriptors",), stage=open_secret,
    ),
    Attack(
        "reads the parent's environment variables", FAMILY,
        """
        import os
        def solve():
            return "through" if os.environ.get("FOREWARN_TEST_SECRET") == "4711" else "stopped"
        """,
        by_its_word, ("empty environment",), stage=secret_variable,
    ),
    Attack(
        "leaves a core dump", FAMILY,
        "import ctypes\ndef solve():\n    ctypes.string_at(0)",
        dumped_core, ("no core dump",),
    ),
)  # fmt: skip
