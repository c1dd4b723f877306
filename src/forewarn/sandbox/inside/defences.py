"""The defences by name, and which of them each isolation level has. Zygote, docs and tests read this list.

A defence is either on or off; ``tests/attacks`` shows which combination stops which attack. A caller can choose only
the level: neither this module nor the zygote offers a way to switch a single defence off.
"""

from __future__ import annotations

DEFENCES = {
    "empty environment": "no environment variable except the one that fixes the order of sets",
    "closed descriptors": "no open file except the null device and the child's own channel",
    "settings apart": "what the zygote is told at its start is not on its command line, nor in any frame of a child",
    "null output": "standard input, output and error are the null device",
    "own descriptions": "the null device is opened by each child for itself, so that no flag or lock is passed on",
    "fresh process": "one process per execution, forked from a template that never sees a request or a result",
    "template apart": "the template does not learn a child's process id, end or time; the keeper waits for children",
    "deadline": "the zygote kills at the wall-clock limit, not counting time spent waiting for a core",
    "CPU limit": "the keeper kills at a limit of CPU time, beyond the deadline; RLIMIT_CPU if the keeper hangs",
    "memory limit": "RLIMIT_AS, and no huge pages",
    "file size limit": "RLIMIT_FSIZE, 16 MiB",
    "open files limit": "RLIMIT_NOFILE, 32",
    "no core dump": "RLIMIT_CORE 0, and not dumpable",
    "killed whole": "the process group and every orphaned process are killed",
    "clean folder": "the working folder is made again after every execution",
    "small disk": "the working folder is a tmpfs of 16 MiB and 256 files",
    "Landlock": "only the interpreter's files can be read and only the working folder used; no TCP, no outside signals",
    "system call filter": "a seccomp allow-list: no new process or program, no signal, no socket",
    "counted threads": "the keeper allows each thread, up to 64 (at most twice that) at once",
    "no capabilities": "the capability sets are emptied for good",
    "user namespace": "capabilities, if ever regained, are void outside",
    "process namespace": "no other process is visible; all processes of an execution die with its first",
    "network namespace": "no network interface except a loopback that is down",
    "IPC namespace": "its own System V IPC and POSIX message queues",
    "host name namespace": "the machine's name is hidden",
    "own root": "a root with only the interpreter's files, mounted so that not even an access time changes",
    "bare library": "installed packages are hidden, and so is every library or file that Python does not load",
    "copied library": "the standard library is a copy in memory, which keeps no trace of what was looked for or read",
    "own disk": "the working folder is mounted for one execution and ends with it",
}
"""name -> what it does, one line"""

_WEAK = frozenset(
    {
        "empty environment", "closed descriptors", "settings apart", "null output", "own descriptions", "fresh process",
        "template apart", "deadline", "CPU limit", "memory limit", "file size limit", "open files limit",
        "no core dump", "killed whole", "clean folder",
    }
)  # fmt: skip
_HARDENED = _WEAK | {
    "small disk", "Landlock", "system call filter", "counted threads", "no capabilities", "own root", "bare library",
    "copied library",
}  # fmt: skip

OF_LEVEL: dict[str, frozenset[str]] = {
    "strict": frozenset(DEFENCES),
    "hardened": _HARDENED,
    "weak": _WEAK,
}
"""isolation level -> its defences, as far as the kernel has them: strict works without Landlock if the kernel lacks
it, hardened without its own root, the copied library and the small disk if user namespaces are missing, and both
allow no threads at all if threads can't be counted (``forewarn sandbox check`` says so)"""
