"""The defences by name, and which of them each isolation level has: the one list that zygote, docs and tests read.

A defence is either there or not; which combination stops which attack is shown by ``tests/attacks``. Nothing here or
in the zygote can switch one off: the level is all that a caller chooses.
"""

from __future__ import annotations

DEFENCES = {
    "empty environment": "no environment variable but the one that fixes the order of sets",
    "closed descriptors": "no open file but the null device and the child's own channel",
    "null output": "standard input, output and error are the null device",
    "own descriptions": "the null device is opened by each child for itself, so that no flag or lock is passed on",
    "fresh process": "one process an execution, forked from one that never sees a request or a result",
    "template apart": "that one is not told a child's number, end or time: whoever waits for children forks none",
    "deadline": "the zygote kills at the limit of wall clock, time spent waiting for a core not counted",
    "CPU limit": "the keeper kills at a limit of CPU time, behind the deadline; RLIMIT_CPU where the keeper hangs",
    "memory limit": "RLIMIT_AS",
    "file size limit": "RLIMIT_FSIZE, 16 MiB",
    "open files limit": "RLIMIT_NOFILE, 32",
    "no core dump": "RLIMIT_CORE 0, and not dumpable",
    "killed whole": "the process group is killed, and whatever was orphaned to the zygote",
    "clean folder": "the working folder is made anew after every execution",
    "small disk": "the working folder is a tmpfs of 16 MiB and 256 files",
    "Landlock": "no file but the interpreter's to read and the working folder to use; no TCP, no signals out",
    "system call filter": "seccomp with a list of what is allowed: no new process or program, no signal, no socket",
    "counted threads": "every thread is asked for, and no more than 64 (at most twice that) are there at once",
    "no capabilities": "the capability sets are emptied for good",
    "user namespace": "capabilities, if ever regained, are void outside",
    "process namespace": "no other process is visible; all processes of an execution die with its first",
    "network namespace": "no network interface but a loopback that is down",
    "IPC namespace": "System V IPC and POSIX message queues of its own",
    "host name namespace": "the machine's name does not show",
    "own root": "a root that holds the interpreter's files alone, mounted so that not even an access time changes",
    "bare library": "no installed package shows, and no library or file of the machine that Python does not load",
    "own disk": "the working folder is mounted for one execution and goes with it",
}
"""name -> what it does, one line"""

_WEAK = frozenset(
    {
        "empty environment", "closed descriptors", "null output", "own descriptions", "fresh process", "template apart",
        "deadline", "CPU limit", "memory limit", "file size limit", "open files limit", "no core dump", "killed whole",
        "clean folder",
    }
)  # fmt: skip
_HARDENED = _WEAK | {
    "small disk", "Landlock", "system call filter", "counted threads", "no capabilities", "own root", "bare library",
}  # fmt: skip

OF_LEVEL: dict[str, frozenset[str]] = {
    "strict": frozenset(DEFENCES),
    "hardened": _HARDENED,
    "weak": _WEAK,
}
"""isolation level -> its defences, as far as the kernel has them: strict goes without Landlock where it is missing,
hardened without a root of its own and the small disk where there are no user namespaces, and both have no threads at
all where they can't be counted (``forewarn sandbox check`` says so)"""
