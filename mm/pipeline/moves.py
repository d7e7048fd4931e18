"""How λ moved over the nights of the history: what is usual of a symbol, and what adds up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from statistics import quantiles
from typing import Any

from mm.core.errors import CalibrationError, one_line
from mm.core.storage import AnyPath
from mm.pipeline import history
from mm.report import words
from mm.report.compare import Change
from mm.report.drift_panel import Model
from mm.report.words import moment
from mm.results.record import Record, Status

#: Nights that are looked back on.
NIGHTS = 60
#: From so many moves on their usual size is known, to a quarter.
_ENOUGH = 10
_FIFTH = 1.2816  # of a normal law one of five values is farther out, in standard deviations
_WITHOUT = ("refused", "failed", "missing")
_COLUMNS = (
    *("symbol", "batch_utc", "status", "reason", "codes", "A", "k", "tick_size"),
    *("var_logA", "cov_logA_k", "var_k", "k_low", "k_high", "window_end_ms", "valid_until"),
)  # fmt: skip
Rows = Mapping[date, Mapping[str, Any]]


def nights(out_dir: AnyPath) -> Mapping[str, Rows]:
    """By symbol the last row of each day, the oldest first; none without a history.

    Raises CalibrationError if it can't be read.
    """
    if not (out_dir / history.HISTORY).is_dir():
        return {}
    found: dict[str, dict[date, Mapping[str, Any]]] = {}
    rows = history.read(out_dir, NIGHTS, _COLUMNS).to_pylist()
    for row in sorted(rows, key=lambda row: str(row["batch_utc"])):
        when = moment(row["batch_utc"])
        if when is not None:
            found.setdefault(row["symbol"], {})[when.date()] = row
    return found


def model_of(row: Mapping[str, Any]) -> Model | None:
    """λ of a row; None where there are no parameters."""
    A, k, tick = row["A"], row["k"], row["tick_size"]
    if row["status"] in _WITHOUT or not A or A <= 0 or k is None:
        return None
    cov = (row["var_logA"], row["cov_logA_k"], row["var_k"])
    half_k = None if row["k_low"] is None else 0.5 * (row["k_high"] - row["k_low"])
    return Model(A, k, tick or 1.0, None if None in cov else cov, half_k)


def with_past(
    records: Mapping[str, Record],
    out_dir: AnyPath,
    tonight: date,
    trouble: Callable[[str], object],
) -> dict[str, Record]:
    """The records with the usual size of their moves, a drift that tonight amounts to enough, and
    how their status stands, from the nights before; a line of trouble where their history can't be
    read."""
    past: Mapping[str, Rows] = {}
    try:
        past = nights(out_dir)
    except (CalibrationError, OSError) as error:
        trouble(f"moves are held against the last batch alone: {one_line(error)}")
    found = {}
    for symbol, record in records.items():
        told: dict[str, Any] = {"standing": None, "usual_move": None, "drift": None}
        now = _tonight(record)
        before = {day: row for day, row in past.get(symbol, {}).items() if day < tonight}
        if before:
            *_, was, stands = _standing([*(r["status"] for r in before.values()), record.status])
            told["standing"] = was, stands
        models = [(day, model_of(row)) for day, row in before.items()]
        known = [(day, model) for day, model in models if model]
        if now and known:
            star = record.lambda_at.delta_star if record.lambda_at else 1.0
            price = star * now.tick_size
            told["usual_move"] = usual = _usual([model for _, model in known], price)
            told["drift"] = _drift(known, now, price, usual)
        found[symbol] = record.model_copy(update=told)
    return found


def _standing(statuses: Sequence[Status]) -> list[Status]:
    """Each night's status as it stands: ok and warn turn into each other on a second night, since
    chance warns of one healthy log in a hundred; anything else does at once."""
    stands = [statuses[0]]
    for last, now in pairwise(statuses):
        mild = {stands[-1], now} == {"ok", "warn"}
        stands.append(stands[-1] if mild and now != last else now)
    return stands


def _tonight(record: Record) -> Model | None:
    if record.status in _WITHOUT or not record.A or record.A <= 0 or record.k is None:
        return None
    cov = record.cov_logA_k and (*record.cov_logA_k[0], record.cov_logA_k[1][1])
    return Model(record.A, record.k, record.tick_size or 1.0, cov)


def _usual(models: Sequence[Model], price: float) -> float | None:
    """Standard deviation of the move of log λ from a night to the next, by the size that one of
    five exceeds, which single breaks hardly widen; None for few nights."""
    pairs = pairwise(model.log_rate(price) for model in models)
    moves = [abs(now - then) for then, now in pairs if now != then]
    if len(moves) < _ENOUGH:
        return None
    return quantiles(moves, n=5, method="inclusive")[-1] / _FIFTH


def _drift(
    known: Sequence[tuple[date, Model]], now: Model, price: float, usual: float | None
) -> str | None:
    """What tonight's λ is over the one that was last told, or the oldest; None where that is no
    news. So steps that are too small for news are told once their sum is large enough."""
    (since, anchor), *later = known
    for day, model in later:
        if _change(model, anchor, price, usual).news:
            since, anchor = day, model
    change = _change(now, anchor, price, usual)
    if not change.news:
        return None
    z = "" if change.z is None else f" ({words.signed(change.z)} SE)"
    return f"λ {words.times(change.ratio)}{z} since {since}"


def _change(now: Model, then: Model, price: float, usual: float | None) -> Change:
    difference = now.log_rate(price) - then.log_rate(price)
    difference = min(max(difference, -600.0), 600.0)
    one, other = now.se(price), then.se(price)
    both = math.hypot(one or 0.0, other or 0.0)
    z = difference / both if one is not None and other is not None and both > 0 else None
    return Change(math.exp(difference), z, same=difference == 0.0, usual=usual)
