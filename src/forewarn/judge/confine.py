"""What takes power away from a process: rlimits, namespaces, Landlock and a seccomp filter, by ctypes.

Runs in the zygote's children (``python -S``), so the standard library alone. Each function raises ``OSError`` where the
kernel refuses; choosing a level is the caller's job. Not covered: control groups (memory is bounded by RLIMIT_AS).

Sources: Linux Documentation/userspace-api/{landlock,seccomp_filter,no_new_privs}.rst; man 7 user_namespaces,
man 2 capset, man 2 seccomp; include/uapi/linux/{landlock,seccomp,filter,audit}.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_PY_LIBC = ctypes.PyDLL(None, use_errno=True)
_IDS = os.geteuid(), os.getegid()

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
_CLONE_ALL = CLONE_NEWUSER | CLONE_NEWNS | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000  # pid, net, ipc, uts
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18

# Landlock file rights (landlock.rst, "Filesystem flags"): read = EXECUTE | READ_FILE | READ_DIR; the handled set grows
# with the ABI: REFER since 2, TRUNCATE since 3, IOCTL_DEV since 5. TCP since 4, abstract sockets and signals since 6.
_FS_READ = (1 << 0) | (1 << 2) | (1 << 3)
_FS_FILE = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
_FS_WORK = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 14)

# Name -> number on (x86_64, aarch64); None where that machine has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # processes: no child, no other program, no session of its own
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "setsid": (112, 157),
    "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268),
    # signals, also to itself: SIGKILL that we did not send then means a fault from outside
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "timer_create": (222, 107),
    # other processes' memory, limits and scheduling
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "prctl": (157, 167), "seccomp": (317, 277),
    # the network and System V, POSIX and anonymous shared memory (not bounded by RLIMIT_AS or RLIMIT_FSIZE)
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # what Landlock does not cover: owners, modes, times and extended attributes of files
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "mknod": (133, None),
    "mknodat": (259, 33),
    # the machine
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "bpf": (321, 280), "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "acct": (163, 89),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "personality": (135, 92),
    "fanotify_init": (300, 262), "inotify_init": (253, None), "inotify_init1": (294, 26), "vhangup": (153, 58),
    "ioperm": (173, None), "iopl": (172, None), "syslog": (103, 116), "sethostname": (170, 161),
    "setdomainname": (171, 162), "modify_ldt": (154, None), "capset": (126, 91),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LAST_KNOWN = 449  # futex_waitv; anything newer answers "not implemented", as on an older kernel
_SYSCALLS = {"clone": (56, 220), "clone3": (435, 435), "prlimit64": (302, 261), "fcntl": (72, 25), "capset": (126, 91)}


def _column() -> int:
    try:
        return _MACHINES[platform.machine()][0]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no system call table for {platform.machine()}") from None


def _number(name: str) -> int:
    return _SYSCALLS[name][_column()]


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int) -> None:
    _check(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def limit(*, cpu_s: int, memory_mb: int, file_mb: int) -> None:
    """Set rlimits: CPU seconds, address space and size of a file in MiB, 32 open files, no core file.

    RLIMIT_NPROC does not help: it counts the user's processes outside too, and root is exempt. The filter refuses
    new processes, and the address space bounds the number of threads.
    """
    mb = 1 << 20
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * mb, memory_mb * mb))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_mb * mb, file_mb * mb))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def drop_capabilities() -> None:
    """Give up every capability for good (``capset`` of zero; nothing is ever exec'd that could regain one)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    data = bytes(24)
    _check(_LIBC.syscall(ctypes.c_long(_number("capset")), header, data), "capset")


def unshare(flags: int) -> None:
    _check(_LIBC.unshare(flags), "unshare")


def fork_into_namespaces() -> int:
    """Fork a child that is pid 1 of fresh user, pid, net, mount, ipc and uts namespaces. Returns as ``os.fork``.

    The raw ``clone``, because ``unshare`` takes a second fork to enter a pid namespace. Only for a process with one
    thread: libc's own fork handlers are passed over, the interpreter's are not.
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = int(_PY_LIBC.syscall(ctypes.c_long(_number("clone")), ctypes.c_ulong(_CLONE_ALL | 17), 0, 0, 0, 0))
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return _check(pid, "clone")


def map_own_ids(proc: int) -> None:
    """In a fresh user namespace: keep the own user and group id, and no other. ``proc``: a descriptor of /proc."""
    uid, gid = _IDS
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        handle = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(handle, text.encode())
        os.close(handle)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _check(_LIBC.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def private_tmpfs(path: str) -> None:
    """Mount an empty tmpfs of 16 MiB and 256 files; it goes with the mount namespace."""
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=256,mode=700")


def unmount(path: str) -> None:
    _check(_LIBC.umount2(path.encode(), 2), f"unmount {path}")  # MNT_DETACH


def pivot_root(new: str, old: str) -> None:
    number = _REFUSED["pivot_root"][_column()]
    _check(_LIBC.syscall(ctypes.c_long(number or 0), new.encode(), old.encode()), "pivot_root")


def landlock_abi() -> int:
    """The kernel's Landlock ABI; 0 where there is none."""
    return max(0, int(_LIBC.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def landlock(readable: Sequence[str], work: str | None) -> None:
    """Allow reading below ``readable`` and using ``work``; refuse all other files, TCP and outside signals."""
    abi = landlock_abi()
    if abi < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    handled = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        if abi >= since:
            handled |= 1 << bit
    attributes = struct.pack("=Q", handled)
    if abi >= 4:
        attributes += struct.pack("=Q", 0b11)
    if abi >= 6:
        attributes += struct.pack("=Q", 0b11)
    ruleset = _check(_LIBC.syscall(444, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)), "landlock")
    rules = [(path, _FS_READ) for path in readable] + ([(work, _FS_WORK)] if work is not None else [])
    for path, rights in rules:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rights &= handled if os.path.isdir(path) else handled & _FS_FILE  # noqa: PTH112 - pathlib is slow to import
        rule = struct.pack("=Qi", rights, handle)
        _check(_LIBC.syscall(445, ruleset, 1, rule, ctypes.c_uint(0)), f"landlock rule {path}")
        os.close(handle)
    _check(_LIBC.syscall(446, ruleset, ctypes.c_uint(0)), "landlock_restrict_self")
    os.close(ruleset)


def seccomp_program() -> bytes:
    """The filter as classic BPF: refuse the calls above with EPERM, allow the rest. ``OSError`` on other machines.

    A deny list, because the interpreter's own needs vary by libc; the namespaces and Landlock stand behind it.
    """
    column = _column()
    audit_arch = _MACHINES[platform.machine()][1]
    load, jeq, jge, jset, ret = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
    code: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4), (jeq, 1, 0, audit_arch), (ret, 0, 0, kill),  # another ABI has other numbers
        (load, 0, 0, 0),
        (jge, 0, 1, _LAST_KNOWN), (ret, 0, 0, absent),  # the x32 ABI (bit 30) too
        (jeq, 0, 1, _SYSCALLS["clone3"][column]), (ret, 0, 0, absent),  # libc falls back to clone
        # clone: threads only (CLONE_THREAD in the low half of argument 0)
        (jeq, 0, 4, _SYSCALLS["clone"][column]), (load, 0, 0, 16), (jset, 1, 0, 0x10000), (ret, 0, 0, refuse),
        (ret, 0, 0, allow),
        # prlimit64: itself only (argument 0 is pid 0)
        (jeq, 0, 4, _SYSCALLS["prlimit64"][column]), (load, 0, 0, 16), (jeq, 1, 0, 0), (ret, 0, 0, refuse),
        (ret, 0, 0, allow),
        # fcntl: not F_SETOWN (8), F_SETSIG (10), F_SETOWN_EX (15), which send signals
        (jeq, 0, 6, _SYSCALLS["fcntl"][column]), (load, 0, 0, 24), (jeq, 3, 0, 8), (jeq, 2, 0, 10), (jeq, 1, 0, 15),
        (ret, 0, 0, allow), (ret, 0, 0, refuse),
    ]  # fmt: skip
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            code += [(jeq, 0, 1, number), (ret, 0, 0, refuse)]
    code.append((ret, 0, 0, allow))
    return b"".join(struct.pack("=HBBI", op, yes, no, k) for op, yes, no, k in code)


def install_filter(program: bytes) -> None:
    """Install a seccomp filter for good. ``no_new_privs`` must be set."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _check(_LIBC.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), header, 0, 0), "seccomp")
