"""Child side that offers the names of ``typing`` without an import; it is appended to a checker's own child side.

It runs inside the sandbox and uses only the standard library. It adds the names to the builtins, so that a verifier's
own ``exec`` finds them too.
"""

from __future__ import annotations

import builtins
import typing

for _name in typing.__all__:
    if not hasattr(builtins, _name):
        setattr(builtins, _name, getattr(typing, _name))
