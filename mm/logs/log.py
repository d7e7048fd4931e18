"""A backtest's log: the three tables of each run, and what was wrong with which row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from mm.core.arrays import Floats, Ints
from mm.core.display import Notes, Table, html
from mm.core.formatting import utc
from mm.core.kept import Shelf
from mm.core.settings import FillSource
from mm.logs.bookkeeping import Ledger
from mm.logs.columns import SetAside
from mm.logs.files import KINDS, Kind
from mm.logs.order_ids import Codes, OrderNames, is_one_of, order_codes

R = TypeVar("R", bound="Run")
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run, typed and checked; see ``mm.logs.load`` for how it gets there.

    ``orders``: recv_ms (int64), order_id, action, side, price (float64), and status, qty,
    active_recv_ms, expire_recv_ms, cancel_effective_ms (float64, NaN where empty) where the
    backtester wrote them. ``fills``: recv_ms, order_id, and qty, reason. ``state``: recv_ms, mid,
    in time order; of rows that share a ms all are kept, in file order. ``end_ms``: time of the
    last row in any of the three. Times are ms since the epoch. ``blind_ms``: times from which
    the mid is unknown until the next state row, because a malformed row stood there.
    ``ledger``: the state rows' inventory, cash and open orders, None to take the table's.
    ``order_names``: of a long log, whose ``order_id`` are numbers; its tables have neither
    remaining_qty nor mtm_value, nor what is in the ledger.
    ``written``: by kind, a table as it stands in its file, where checking changed it.
    """

    orders: pd.DataFrame
    fills: pd.DataFrame
    state: pd.DataFrame
    end_ms: int
    blind_ms: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64), kw_only=True)
    ledger: Ledger | None = field(default_factory=lambda: None, kw_only=True)
    order_names: OrderNames | None = field(default_factory=lambda: None, kw_only=True)
    written: Mapping[str, pd.DataFrame] = field(default_factory=dict, kw_only=True)
    shelf: Shelf | None = field(default=None, init=False, repr=False, compare=False)
    _products: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def product(
        self: R, make: Callable[Concatenate[R, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a function makes of this run and of settings, made once: statistics of several runs
        are put together of these, run by run. With a shelf they are kept there for other days, and
        what is read from it is not held here: a window of days needs the memory of the new one."""
        key = (make, args, tuple(kwargs.items()))
        if key in self._products:
            made: T = self._products[key]
            return made
        found = None if self.shelf is None else self.shelf.get(make, key[1:])
        if found is None:
            found = self._products[key] = make(self, *args, **kwargs)
            if self.shelf is not None:
                self.shelf.put(make, key[1:], found)
        return found

    @cached_property
    def facts(self) -> Facts:
        """What pooling and the headline need to know of the tables."""
        return self.product(Facts.of)

    @property
    def start_ms(self) -> int:
        """Time of the first state row, ms since the epoch."""
        return self.facts.start_ms

    def placed_ids(self) -> set[str]:
        """Ids of the orders that this run placed."""
        return set(self._ids(self.orders[is_one_of(self.orders["action"], "PLACE")]))

    def fills_of_strangers(self) -> set[str]:
        """Ids of filled orders that this run did not place."""
        own, filled, n = self.codes
        known = own[is_one_of(self.orders["action"], "PLACE")]
        stranger = np.zeros(n, dtype=np.bool_)
        stranger[filled] = True
        stranger[known] = False
        return set(self._ids(self.fills[stranger[filled]]))

    def _ids(self, table: pd.DataFrame) -> list[str]:
        ids = table["order_id"].to_numpy()
        return [str(name) for name in (self.order_names.of(ids) if self.order_names else ids)]

    @cached_property
    def codes(self) -> tuple[Codes, Codes, int]:
        """Number of each row's order in orders and fills, and one more than the largest."""
        return order_codes(self.orders, self.fills)


@dataclass(frozen=True)
class Facts:
    """Of a run's tables: ``rows``, and times of the ``first_ms`` and ``last_ms``, by kind;
    ``start_ms``, ``last_state_ms``: of the first and the last state row as they stand;
    ``mid``: their median; ``mids``: about ten thousand of them; ``reasons``: of the fills;
    ``strangers``: ids of filled orders that the run did not place."""

    rows: Mapping[str, int]
    first_ms: Mapping[str, int]
    last_ms: Mapping[str, int]
    start_ms: int
    last_state_ms: int
    mid: float
    mids: Floats
    reasons: tuple[str, ...]
    strangers: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> Facts:
        """Those of a run."""
        tables = dict(zip(KINDS, (run.orders, run.fills, run.state), strict=True))
        times = {kind: table["recv_ms"] for kind, table in tables.items() if len(table)}
        mids = run.state["mid"].to_numpy(dtype=np.float64)
        reasons = run.fills["reason"].unique() if "reason" in run.fills else ()
        return cls(
            rows={kind: len(table) for kind, table in tables.items()},
            first_ms={kind: int(time.min()) for kind, time in times.items()},
            last_ms={kind: int(time.max()) for kind, time in times.items()},
            start_ms=int(times["state"].iloc[0]),
            last_state_ms=int(times["state"].iloc[-1]),
            mid=float(run.state["mid"].median()),
            mids=mids[:: max(1, len(mids) // 10_000)],
            reasons=tuple(str(name) for name in reasons if name),
            strangers=tuple(sorted(run.fills_of_strangers())),
        )


@dataclass(frozen=True)
class RunLog(Run):
    """One run as it was read: where from, and what was wrong with it.

    ``warnings``: what was repaired or left out with a malformed row. ``appended``: signs of a
    second run behind the first. ``shifted``: files whose clock is not that of the others.
    ``n_repaired``: orders whose fills were taken from the orders file. ``labels``: by kind, what
    its file is called. ``disagree``: signs that the files tell of different trades.
    ``mid_offset``: by how much all mids differ alike from those by which the state rows count
    the value, in units of price; ``price_offset``: the same of fill prices and cash.
    """

    name: str
    set_aside: tuple[SetAside, ...] = ()
    warnings: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    shifted: tuple[str, ...] = ()
    n_repaired: int = 0
    inputs_sha256: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[Kind, str] = field(default_factory=dict)
    disagree: tuple[str, ...] = ()
    mid_offset: float = 0.0
    price_offset: float = 0.0


@dataclass(frozen=True, repr=False)
class BacktestLog:
    """All runs of one symbol."""

    symbol: str
    runs: tuple[RunLog, ...]
    warnings: tuple[str, ...] = ()

    @property
    def fill_source(self) -> FillSource:
        """What filled the orders, by the ``reason`` of the fill rows."""
        names = {name for run in self.runs for name in run.facts.reasons}
        names = {name for name in names if name.lower() not in ("taker", "nan")}
        drawn = {name for name in names if name.startswith("poisson")}
        if not names:
            return "unknown"
        if names == {"virtual"}:
            return "tape"
        if drawn:
            return "poisson" if drawn == names else "mixed"
        return "trade_driven" if names == {"trade_cross"} else "unknown"

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """Malformed rows of all runs."""
        return tuple(aside for run in self.runs for aside in run.set_aside)

    @property
    def inputs_sha256(self) -> dict[str, str]:
        """SHA-256 of every input file, by file name (with its run folder where pooled)."""
        return {name: value for run in self.runs for name, value in run.inputs_sha256.items()}

    @property
    def window_ms(self) -> tuple[int, int]:
        """First state row and last row of any file over all runs, ms since the epoch."""
        return min(r.start_ms for r in self.runs), max(r.end_ms for r in self.runs)

    @property
    def filled_in_next_run(self) -> int:
        """Orders that one run placed and that were filled in the one behind it, of which they are
        no orders: both are pieces of one run."""
        runs = sorted(self.runs, key=lambda run: run.start_ms)
        return sum(
            len(before.placed_ids().intersection(strangers))
            for before, after in pairwise(runs)
            if (strangers := after.facts.strangers)
        )

    def span_s(self, kind: Kind) -> float:
        """Time from the first to the last row of one kind of file, all runs together, s."""
        facts = [run.facts for run in self.runs]
        return sum(f.last_ms[kind] - f.first_ms[kind] for f in facts if f.rows[kind]) / 1000.0

    @property
    def covered_s(self) -> float:
        """Time of the market in at least one run, s: what several runs replay counts once."""
        covered, until = 0, self.window_ms[0]
        for start, end in sorted((run.start_ms, run.end_ms) for run in self.runs):
            covered += max(0, end - max(start, until))
            until = max(until, end)
        return covered / 1000.0

    @property
    def mid(self) -> float:
        """Median of about ten thousand mids of each run, quote currency; NaN without any."""
        some = np.concatenate([run.facts.mids for run in self.runs])
        return float(np.nanmedian(some)) if np.isfinite(some).any() else float("nan")

    def __repr__(self) -> str:
        rows = ", ".join(f"{sum(r.facts.rows[k] for r in self.runs):,} {k}" for k in KINDS)
        return f"<{type(self).__name__} {self.symbol}: {len(self.runs)} run(s), {rows}>"

    def _repr_html_(self) -> str:
        rows = []
        for run in self.runs:
            took = f"{(run.end_ms - run.start_ms) / 60_000:.1f} min"
            counts = [f"{run.facts.rows[kind]:,}" for kind in KINDS]
            rows.append([run.name, utc(run.start_ms), utc(run.end_ms), took, *counts])
        head = ("run", "from (UTC)", "to", "duration", *(f"{kind} rows" for kind in KINDS))
        notes = [*self.warnings, *(w for run in self.runs for w in run.warnings)]
        return html(Table(head, rows), Notes([*notes, *map(str, self.set_aside)]))
