"""Which of the host's files a submission may read: the standard library without installed packages, and libraries.

Once per process, a fresh interpreter imports every extension module of the standard library and lists the shared
libraries that it loaded. Nothing else of ``/usr/lib`` is shown. Not covered: how files are shown (``inside/root.py``,
``inside/landlock.py``), and whether a protected file is readable (``probe.py``).
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.errors import EngineFault

PACKAGES = frozenset({"site-packages", "dist-packages"})
"""names of folders of installed packages, wherever they are"""
_ALWAYS = ("/etc/ld.so.cache", "/dev/urandom", "/dev/null", "/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")
"""shown besides libraries: random numbers, and the one locale that every machine has"""
_LINKS = ("/lib", "/lib64", "/usr/lib64")
"""other names of library folders, shown if they are links, since the loader may ask for a library by them"""
_START_S = 60.0
# _tkinter is left out with its libraries: a window needs a display, which submissions don't have.
_SCRIPT = """
import ctypes, importlib, json, os, sys
for folder in list(sys.path):
    if folder.endswith("lib-dynload"):
        for name in sorted({name.partition(".")[0] for name in os.listdir(folder) if ".so" in name}):
            if name not in ("_tkinter",):
                try:
                    importlib.import_module(name)
                except BaseException:
                    pass
try:
    ctypes.CDLL("libgcc_s.so.1")  # for the end of a thread
except OSError:
    pass
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[5].strip() for line in maps if line.count(" ") > 4 and ".so" in line}
print(json.dumps([os.path.dirname(os.__file__), sys.path, sorted(mapped)]))
"""


@dataclass(frozen=True, slots=True)
class Readable:
    """Files and folders on the host."""

    paths: tuple[str, ...]
    hidden: tuple[str, ...]
    """folders below these that are not shown"""


@functools.cache
def of_interpreter(executable: str = sys.executable) -> Readable:
    """Return the files that an interpreter needs. Raises ``EngineFault`` if it does not start."""
    command = [executable, "-I", "-S", "-c", _SCRIPT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_START_S, check=True, env={})
        library, search, mapped = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineFault(f"the interpreter {executable} does not start in isolated mode: {error}") from error
    folders = list(dict.fromkeys(path for path in [library, *search] if Path(path).exists()))
    folders = [path for path in folders if not any(path.startswith(f"{other}/") for other in folders)]
    below = tuple(f"{folder}/" for folder in folders)
    libraries = _with_links([path for path in mapped if not path.startswith(below)])
    links = [path for path in _LINKS if Path(path).is_symlink()]
    hidden = [found for folder in folders for found in _packages(folder)]
    return Readable((*links, *folders, *dict.fromkeys(libraries), *_ALWAYS), tuple(hidden))


def _with_links(libraries: Sequence[str]) -> list[str]:
    """Yield libraries and the links beside them, since the loader asks for most libraries by a link."""
    found = []
    for folder in dict.fromkeys(str(Path(path).parent) for path in libraries):
        links = [str(path) for path in Path(folder).iterdir() if ".so" in path.name and path.is_symlink()]
        found += [path for path in libraries if str(Path(path).parent) == folder]
        found += [link for link in links if os.path.realpath(link) in libraries]
    return found


def _packages(folder: str) -> Iterator[str]:
    for path, names, _ in os.walk(folder):
        found = [name for name in names if name in PACKAGES]
        names[:] = [name for name in names if name not in found]
        yield from (f"{path}/{name}" for name in found)
