"""Runs of two markets under one symbol's name: spot beside futures, or one venue beside another.

Pooled, they would give an A and k of neither. What tells them apart: their folders' names, a
``market`` or ``venue`` in the ``meta.json`` beside their files, mids that differ at the same times,
and prices of other sizes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mm.core.arrays import Floats
from mm.core.errors import InputError
from mm.core.storage import StoreError
from mm.logs.files import RunFiles
from mm.logs.log import RunLog

#: Words of folder names, by the market that each means.
_WORDS = {
    "spot": "spot",
    "margin": "margin",
    **dict.fromkeys(("usdm", "um", "linear"), "linear futures"),
    **dict.fromkeys(("coinm", "cm", "inverse"), "inverse futures"),
    **dict.fromkeys(("option", "options"), "options"),
}
_META, _KEYS = "meta.json", ("market", "venue", "exchange")
#: Instants that are compared, and how many of them at least.
_TRIED, _LEAST = 2_000, 50
#: One market's mids are equal at most times, another's at hardly any; a recorder that lags makes
#: differences to both sides of 0, of which the median is smaller than the typical one.
_EQUAL = 0.1
#: Correlation of the moves over so many stretches of the time that two runs share. Venues of one
#: asset have .9 and more; of independent paths, as simulations with one clock are, one in 10,000
#: has this.
_MOVES, _TOGETHER = 50, 0.5
#: A market does not double from one run to the next; another unit of price does more.
_LEVEL = 2.0


def check_one_market(logs: Sequence[RunLog], files: Sequence[RunFiles]) -> None:
    """Raise InputError if runs that would be pooled are of several markets."""
    if len(logs) < 2:
        return
    told = [_told(run) for run in files]
    ordered = sorted(zip(logs, told, strict=True), key=lambda pair: pair[0].start_ms)
    for (before, other), (log, market) in pairwise(ordered):
        difference = _told_apart(other, market) or _by_price(before, log)
        if difference:
            raise InputError(
                f"is another market than {before.name!r}: {difference}",
                where=repr(log.name),
                remedy="calibrate each market by itself, with a --data-dir and --out-dir each, or "
                "give the files of each another symbol",
            )


@dataclass(frozen=True)
class _Told:
    """What is said of a run's market: by its folders, by its ``meta.json``."""

    folders: frozenset[str]
    meta: dict[str, str]


def _told(run: RunFiles) -> _Told:
    tokens = re.split(r"[^a-z]+", re.sub(r"(usd|coin)[-_]m\b", r"\1m", run.below.lower()))
    meta = run.folder / _META
    try:
        content = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
    except (OSError, ValueError, StoreError):  # it is nobody's duty to keep one
        content = {}
    said = content if isinstance(content, dict) else {}
    return _Told(
        frozenset(_WORDS[token] for token in tokens if token in _WORDS),
        {key: said[key] for key in _KEYS if isinstance(said.get(key), str)},
    )


def _told_apart(one: _Told, other: _Told) -> str:
    if one.folders and other.folders and not one.folders & other.folders:
        words = (" and ".join(sorted(told.folders)) for told in (one, other))
        return "their folders say {} and {}".format(*words)
    for key in one.meta.keys() & other.meta.keys():
        if one.meta[key] != other.meta[key]:
            return f"their {_META} say {key} {one.meta[key]!r} and {other.meta[key]!r}"
    return ""


def _by_price(before: RunLog, log: RunLog) -> str:
    """How the mids of two runs differ, one of which starts no sooner; empty if they may be one
    market's."""
    was, now = before.facts.mid, log.facts.mid
    if min(was, now) > 0 and not 1 / _LEVEL < now / was < _LEVEL:
        return f"their mids lie at {was:g} and {now:g}"
    start = max(before.start_ms, log.start_ms)
    end = min(before.facts.last_state_ms, log.facts.last_state_ms)
    if start > end:
        return ""
    rows = [t[(t >= start) & (t <= end)] for t, _ in (_path(before), _path(log))]
    times = np.sort(np.concatenate(rows))
    if len(times) < _LEAST:
        return ""
    some = times[np.linspace(0, len(times) - 1, min(len(times), _TRIED)).astype(np.int64)]
    here, there = _mid(before, some), _mid(log, some)
    equal, difference = float(np.mean(here == there)), there - here
    offset = float(np.median(difference))
    if equal >= _EQUAL or abs(offset) <= np.median(np.abs(difference - offset)):
        return ""
    moves = [np.diff(_mid(run, np.linspace(start, end, _MOVES + 1))) for run in (before, log)]
    still = not all(np.ptp(moved) > 0 for moved in moves)
    if still or np.ravel(np.corrcoef(moves))[1] < _TOGETHER:
        return ""
    return (
        f"at the same times their mids move together and differ by {abs(offset):g} in price, and "
        f"are equal at {100 * equal:.0f} % of them"
    )


def _mid(log: RunLog, times: Floats) -> Floats:
    time, mid = _path(log)
    return mid[np.searchsorted(time, times, side="right") - 1]


def _path(log: RunLog) -> tuple[Floats, Floats]:
    return log.state["recv_ms"].to_numpy(dtype=float), log.state["mid"].to_numpy(dtype=float)
