"""When to keep a checkpoint: log-spaced steps, because exploit rates move on a log scale of training."""

from __future__ import annotations

from forewarn.errors import InputError


def log_spaced_steps(first: int, last: int, count: int) -> tuple[int, ...]:
    """``count`` distinct steps from ``first`` to ``last``, as evenly spaced in log(step) as whole numbers allow."""
    if not 1 <= first <= last or not 1 <= count <= last - first + 1:
        raise InputError(f"{count} checkpoints from step {first} to step {last}: there are not so many whole steps")
    if count == 1:
        return (last,)
    steps = [first]
    for left in range(count - 1, 0, -1):
        # what is left is spread evenly in log space from the step just taken, so that early ties push later ones on
        wanted = steps[-1] * (last / steps[-1]) ** (1 / left)
        steps.append(max(steps[-1] + 1, round(wanted)))
    return tuple(steps)
