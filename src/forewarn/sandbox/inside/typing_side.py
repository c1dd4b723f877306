"""Child side where submissions find the names of ``typing`` without an import: appended to that of any checker.

Inside the sandbox, standard library alone. The names are built-in ones there, so that a verifier's own ``exec`` finds
them, too.
"""

from __future__ import annotations

import builtins
import typing

for _name in typing.__all__:
    if not hasattr(builtins, _name):
        setattr(builtins, _name, getattr(typing, _name))
