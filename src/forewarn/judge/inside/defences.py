"""The defences by name, and which of them each isolation level has: the one list that zygote, docs and tests read.

A defence is either there or not; which combination stops which attack is shown by ``tests/attacks``. Nothing here or
in the zygote can switch one off: the level is all that a caller chooses.
"""

from __future__ import annotations

DEFENCES = {
    "empty environment": "no environment variable but the one that fixes the order of sets",
    "closed descriptors": "no open file but the null device and the child's own channel",
    "null output": "standard input, output and error are the null device",
    "fresh process": "one process an execution, forked from a zygote that never sees a request or a result",
    "deadline": "the zygote kills at the limit of wall clock, time spent waiting for a core not counted",
    "CPU limit": "RLIMIT_CPU, behind the deadline",
    "memory limit": "RLIMIT_AS",
    "file size limit": "RLIMIT_FSIZE, 16 MiB",
    "open files limit": "RLIMIT_NOFILE, 32",
    "no core dump": "RLIMIT_CORE 0, and not dumpable",
    "killed whole": "the process group is killed, and whatever was orphaned to the zygote",
    "clean folder": "the working folder is emptied after every execution",
    "small disk": "the working folder is a tmpfs of 16 MiB and 256 files",
    "Landlock": "no file but the interpreter's to read and the working folder to use; no TCP, no signals out",
    "system call filter": "seccomp with a list of what is allowed: no new process or program, no signal, no socket",
    "no capabilities": "the capability sets are emptied for good",
    "user namespace": "capabilities, if ever regained, are void outside",
    "process namespace": "no other process is visible; all processes of an execution die with its first",
    "network namespace": "no network interface but a loopback that is down",
    "IPC namespace": "System V IPC and POSIX message queues of its own",
    "host name namespace": "the machine's name does not show",
    "own root": "a read-only root that holds the interpreter's files alone",
    "own disk": "the working folder is mounted for one execution and goes with it",
}
"""name -> what it does, one line"""

_WEAK = frozenset(
    {
        "empty environment", "closed descriptors", "null output", "fresh process", "deadline", "CPU limit",
        "memory limit", "file size limit", "open files limit", "no core dump", "killed whole", "clean folder",
    }
)  # fmt: skip
_HARDENED = _WEAK | {"small disk", "Landlock", "system call filter", "no capabilities"}

OF_LEVEL: dict[str, frozenset[str]] = {
    "strict": frozenset(DEFENCES),
    "hardened": _HARDENED,
    "weak": _WEAK,
}
"""isolation level -> its defences, as far as the kernel has them: Landlock is not asked for at strict where it is
missing, nor the small disk at hardened where there are no user namespaces (``forewarn sandbox check`` says so)"""
