"""What speaks against parameters going live, and how far they have moved from what is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mm.core.formatting import figures
from mm.core.policy import Policy
from mm.report.compare import DISTANCES, NEWS_SE, quoted, rate_at
from mm.results.params import Params
from mm.results.record import Record


@dataclass(frozen=True)
class Move:
    """One number now over the same one live. ``z``: the difference of logarithms in its standard
    errors, sqrt(se_now^2 + se_live^2); None where one has none."""

    what: str
    ratio: float
    z: float | None

    def beyond(self, max_move: float) -> bool:
        """Whether it is of this size, up or down by the same factor, and more than chance gives."""
        sized = abs(math.log(self.ratio)) > math.log1p(max_move)
        return sized and (self.z is None or abs(self.z) > NEWS_SE)

    def __str__(self) -> str:
        errors = "" if self.z is None else f", {figures(abs(self.z))} standard errors"
        return f"{self.what} is {figures(self.ratio)} times what is live{errors}"


def moves(now: Params, live: Params) -> list[Move]:
    """λ at the distances that were quoted, and 1/k in price. Distances are compared in price: a
    symbol whose tick size was set anew has not moved by it."""
    scale = now.tick_size / live.tick_size
    found = []
    for delta in quoted(now) or DISTANCES:
        one, other = rate_at(now, delta), rate_at(live, delta * scale)
        if one is not None and other is not None:
            ratio, errors = one.value / other.value, (one.se_log, other.se_log)
            found.append(Move(f"λ at {delta:g} ticks", ratio, _z(ratio, *errors)))
    ratio = live.k_price / now.k_price
    return [*found, Move("1/k", ratio, _z(ratio, _se_log_k(now), _se_log_k(live)))]


def objections(
    record: Record, params: Params | None, live: Params | None, policy: Policy, now: datetime
) -> Iterator[str]:
    """What keeps a symbol's parameters from going live, in one line each; nothing if they may."""
    if params is None:
        yield f"no parameters: {record.status}{f', {record.reason}' if record.reason else ''}"
        return
    if record.status in ("missing", "stale"):
        yield f"{record.status}: {record.reason}"
    elif params.outdated:
        yield f"outdated: {params.outdated}"
    if expired(params, now):
        yield f"expired: valid until {params.valid_until}"
    codes = {finding.code for finding in params.findings if finding.level != "note"}
    for code in policy.block_codes:
        if code in codes:
            yield f"{code}: warned of it, and block_codes names it"
    if live is not None and policy.max_move is not None:
        far = [move for move in moves(params, live) if move.beyond(policy.max_move)]
        if far:
            worst = max(far, key=lambda move: abs(math.log(move.ratio)))
            yield f"moved: {worst}; max_move is {policy.max_move:g}"


def expired(params: Params, now: datetime) -> bool:
    """Whether parameters hold no longer."""
    until = params.valid_until
    return until is not None and datetime.fromisoformat(until) < now.astimezone(UTC)


def _z(ratio: float, one: float | None, other: float | None) -> float | None:
    both = math.hypot(one or 0.0, other or 0.0)
    return None if one is None or other is None or both <= 0 else math.log(ratio) / both


def _se_log_k(params: Params) -> float | None:
    return math.sqrt(params.cov_logA_k[1][1]) / params.k if params.cov_logA_k else None
