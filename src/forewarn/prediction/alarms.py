"""Alarms with a guarantee: e-values for "the rate exceeds u" and for growth, spending over time, e-LOND over types.

An e-value has mean at most 1 under its null, so it exceeds 1/alpha with probability at most alpha. One look at one
checkpoint uses a number of completions fixed beforehand. Not here: forecasts (``emergence.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from forewarn.errors import InputError
from forewarn.estimation.sample import Sample
from forewarn.records import Alert

Floats = NDArray[np.float64]


def _bets(n_unit: int, highest: float) -> Floats:
    """Return a fixed log-spaced grid of bets from about 1/n of ``highest`` up to it; it uses planned numbers only."""
    return highest * np.geomspace(min(0.3, 0.5 / n_unit), 0.9, max(8, math.ceil(4 * math.log10(2 * n_unit + 1))))


def _unit_values(sample: Sample, log_weight_H: Floats) -> Floats:
    """Return n_unit * sum of coef * w * E for each unit (U values); their average is the estimate."""
    z = np.exp(np.log(sample.coef_N[sample.hit_H]) + log_weight_H + math.log(sample.n_unit))
    return np.bincount(sample.unit_N[sample.hit_H], weights=z, minlength=sample.n_unit).astype(np.float64)


def log_e_exceeds(sample: Sample, u: float) -> float:
    """Return the ln e-value against "the rate is at most ``u``"; fix u before the completions are drawn.

    E = mean over a fixed grid of bets of prod_i (1 + lambda (X_i / u - 1)), with X_i the unit totals of w*E and lambda
    in [0, 1]. Its mean is at most 1 under the null for units that are independent but not identical (AM-GM). Invalid
    completions do not count as hits. Raises InputError for u outside (0, 1). Source: method.md, "Alarm"; Waudby-Smith &
    Ramdas 2024.
    """
    if not 0 < u < 1:
        raise InputError(f"u is {u}: give a rate strictly between 0 and 1")
    value = _unit_values(sample, sample.log_weight_H)
    hits = value[value > 0] / u
    return float(log_e_of_looks(hits, np.zeros(len(hits), dtype=np.int64), 1, sample.n_unit)[0])


def log_e_of_looks(ratio_H: Floats, look_H: NDArray[np.int64], n_look: int, n_unit: int) -> Floats:
    """Return ln e-values of many looks with ``n_unit`` units each. ``ratio_H``: X_i / u of each unit that hit;
    ``look_H``: its look."""
    n_hit = np.bincount(look_H, minlength=n_look)
    log_capital = np.array(
        [
            np.bincount(look_H, weights=np.log1p(bet * (ratio_H - 1)), minlength=n_look)
            + (n_unit - n_hit) * math.log1p(-bet)
            for bet in _bets(n_unit, 1.0).tolist()
        ]
    )
    out: Floats = np.asarray(logsumexp(log_capital, axis=0)) - math.log(len(log_capital))
    return out


def log_e_growth(
    now: Sample,
    first: Sample,
    *,
    tau: float,
    factor: float = 10.0,
    trace_now: ArrayLike | None = None,
    trace_first: ArrayLike | None = None,
) -> float:
    """Return the ln e-value against "the rate is at most ``factor`` times p_1^tau", where p_1^tau = E[min(w, tau) E] at
    the first checkpoint.

    ``tau`` is a weight that truncates the first checkpoint's weights so that bets stay bounded. Fix it beforehand, not
    below the usual weight of a hit: if it is far below, p_1^tau is far below the rate, and any checkpoint passes it.
    Since p_1^tau is at most the rate there, an alarm says "``factor`` times what our spans saw at checkpoint 1".
    ``trace_*``: donor trace ids of each completion, if traces are shared between the checkpoints; equal ids are one
    unit. Bets are at most 1 / (factor * n * largest truncated unit). Raises InputError.
    """
    if not tau > 0 or not factor > 0:
        raise InputError(f"tau is {tau} and factor {factor}: give positive values")
    if (trace_now is None) != (trace_first is None):
        raise InputError("trace_now and trace_first: give both, or neither if no trace is shared")
    truncated = np.minimum(first.log_weight_H, math.log(tau))
    ids = []
    for sample, trace, tag in ((now, trace_now, "now"), (first, trace_first, "first")):
        if trace is None:
            ids.append(np.array([f"{tag}{i}" for i in range(sample.n_unit)]))
            continue
        given = np.asarray(trace)
        if given.shape != (sample.n,):
            raise InputError(f"trace_{tag} has shape {given.shape}: give one id for each of {sample.n} completions")
        ids.append(given[np.unique(sample.unit_N, return_index=True)[1]].astype(str))
    if trace_now is None:
        # if no trace is shared, pairing the units in order loses nothing and halves the number of factors
        n = max(now.n_unit, first.n_unit)
        pair_now, pair_first = np.arange(now.n_unit), np.arange(first.n_unit)
    else:
        unique, inverse = np.unique(np.concatenate(ids), return_inverse=True)
        n = len(unique)
        pair_now, pair_first = inverse[: now.n_unit], inverse[now.n_unit :]
    gain = np.bincount(pair_now, weights=_unit_values(now, now.log_weight_H) * n / now.n_unit, minlength=n)
    seen = np.bincount(pair_first, weights=_unit_values(first, truncated) * n / first.n_unit, minlength=n)
    size = np.bincount(first.unit_N, weights=first.coef_N, minlength=first.n_unit)
    most = n * tau * float(np.bincount(pair_first, weights=size, minlength=n).max())
    bet = _bets(n, 1 / (factor * most))
    log_capital = np.log1p(bet[:, None] * (gain - factor * seen)[None, :]).sum(axis=1)
    return float(logsumexp(log_capital)) - math.log(len(bet))


def spending(alpha: float, n_look: int) -> Floats:
    """Return equal levels for ``n_look`` looks that sum to ``alpha``: a union bound over planned looks, which may reuse
    draws."""
    if not 0 < alpha < 1 or n_look < 1:
        raise InputError(f"alpha is {alpha} and n_look {n_look}: give a level in (0, 1) and at least one look")
    return np.full(n_look, alpha / n_look)


def first_crossing(log_e_values: Sequence[float], alpha: float) -> int | None:
    """Return the first look at which the running product of e-values exceeds 1/alpha (Ville 1939), or None.

    This is valid only for the same null at all looks and **fresh completions at each**: the product of e-values from
    the same completions is not an e-value.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}: give a level in (0, 1)")
    total = np.cumsum(np.asarray(log_e_values, dtype=np.float64))
    passed = np.flatnonzero(total >= -math.log(alpha))
    return int(passed[0]) if len(passed) else None


def elond(log_e_values: Sequence[float], *, alpha: float, n_planned: int | None = None) -> tuple[bool, ...]:
    """Return which e-values are discoveries over types and time, in the given order, by e-LOND (Xu & Ramdas 2024).

    It rejects t if E_t >= 1 / (alpha gamma_t (1 + discoveries so far)). The false discovery rate is at most ``alpha``
    under any dependence; if there is no true effect, so is the chance of a single false alarm. gamma: equal over
    ``n_planned`` tests if their number is planned, otherwise proportional to 1 / (t (t + 1)).
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}: give a level in (0, 1)")
    n = len(log_e_values)
    if n_planned is not None and n > n_planned:
        raise InputError(f"n_planned is {n_planned}: give at least {n}, the number of e-values")
    t = np.arange(1, n + 1)
    gamma = 1.0 / (t * (t + 1)) if n_planned is None else np.full(n, 1.0 / n_planned)
    found: list[bool] = []
    for log_e, share in zip(log_e_values, gamma, strict=True):
        found.append(bool(log_e >= -math.log(alpha * share * (1 + sum(found)))))
    return tuple(found)


def exceeds_alert(run: str, exploit_type: str, step: int, sample: Sample, *, u: float, alpha: float) -> Alert | None:
    """Return an ``Alert`` if the e-value against "the rate is at most u" exceeds 1/alpha (for this look)."""
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}: give a level in (0, 1)")
    log_e = log_e_exceeds(sample, u)
    if log_e < -math.log(alpha):
        return None
    return Alert(
        run=run,
        exploit_type=exploit_type,
        step=step,
        kind="exceeds",
        message=f"{exploit_type} exceeds {u:g} at step {step} (log10 of the e-value {log_e / math.log(10):.1f})",
        e_value=math.exp(min(log_e, 700.0)),
    )


def growth_alert(
    run: str,
    exploit_type: str,
    step: int,
    now: Sample,
    first: Sample,
    *,
    tau: float,
    alpha: float,
    factor: float = 10.0,
) -> Alert | None:
    """Return an ``Alert`` if the growth e-value exceeds 1/alpha; its message says what it tests."""
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}: give a level in (0, 1)")
    log_e = log_e_growth(now, first, tau=tau, factor=factor)
    if log_e < -math.log(alpha):
        return None
    return Alert(
        run=run,
        exploit_type=exploit_type,
        step=step,
        kind="growth",
        message=f"{exploit_type} at step {step} is over {factor:g} times what our spans saw at checkpoint 1",
        e_value=math.exp(min(log_e, 700.0)),
    )
