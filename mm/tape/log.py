"""A tape with virtual orders on it, as the log that every further step takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mm.core.display import Table, html
from mm.core.errors import InputError
from mm.core.formatting import figures, ranged
from mm.core.settings import Settings
from mm.core.storage import AnyPath
from mm.logs.discovery import find_symbols
from mm.logs.files import KINDS, LocalRun, RunFiles, fetched
from mm.logs.log import BacktestLog, RunLog
from mm.tape.read import read_tape
from mm.tape.tape import Tape
from mm.tape.virtual import FillRule, Quoter, virtual_tables

#: Blocks of time that intervals take for independent hold so many horizons at least.
HORIZONS_A_BLOCK = 10
#: Other horizons and fill rules are tried on so much of the first tape.
ALTERNATIVES_MS = 3_600_000


@dataclass(frozen=True)
class Alternative:
    """What another horizon or fill rule gives: lambda at ``delta`` ticks, 1/s, with its 95 %
    interval;
    NaN where there is no fit."""

    fill_rule: FillRule
    horizon_ms: int
    orders: int
    fills: int
    delta: float
    rate: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class TapeLog(BacktestLog):
    """Virtual orders on the tapes of one symbol, a run each. ``unit``: of the ladder's distances,
    quote currency; ``begun``: the log of the first hour, where there is more."""

    tapes: tuple[Tape, ...] = field(kw_only=True)
    quoter: Quoter = field(kw_only=True)
    unit: float = field(kw_only=True)
    begun: BacktestLog | None = field(default=None, kw_only=True)
    alternatives: tuple[Alternative, ...] = field(default=(), kw_only=True)

    @property
    def rule(self) -> str:
        """How the virtual orders were placed and filled, in a line."""
        q = self.quoter
        ladder = ", ".join(f"{distance / self.unit:g}" for distance in q.distances)
        print_ = "at its price or through it" if q.fill_rule == "at" else "through its price"
        return (
            f"virtual orders every {q.requote_ms:,} ms at {ladder} ticks, active after "
            f"{q.latency_ms:,} ms, for {q.horizon_ms:,} ms at most; filled by the first print "
            f"{print_}"
        )

    @property
    def queue(self) -> tuple[Alternative | None, Alternative | None]:
        """What the front and the back of the queue give at its horizon."""
        own = [one for one in self.alternatives if one.horizon_ms == self.quoter.horizon_ms]
        front, back = (
            next((one for one in own if one.fill_rule == rule), None) for rule in ("at", "through")
        )
        return front, back

    def _repr_html_(self) -> str:
        rows = [
            (
                one.fill_rule,
                f"{one.horizon_ms / 1000:g} s",
                f"{one.orders:,}",
                f"{one.fills:,}",
                ranged(one.rate, one.low, one.high) if one.rate == one.rate else "–",
            )
            for one in self.alternatives
        ]
        at = f"λ at {figures(self.alternatives[0].delta)} ticks, 1/s" if rows else ""
        table = Table(
            ("filled by prints", "horizon", "orders", "filled", at),
            rows,
            "Other horizons and fill rules",
            "First hour. at: the front of the queue, through: its back; the truth lies between.",
        )
        return BacktestLog._repr_html_(self) + html(f"{self.rule}.".capitalize(), table)


def quoter_of(settings: Settings, tick: float) -> tuple[Quoter, float]:
    """How the settings place virtual orders, and the unit of their distances, quote currency:
    TICK_SIZE, else the tape's own tick."""
    unit = settings.TICK_SIZE or tick
    return Quoter(
        tuple(ticks * unit for ticks in settings.quote_ticks),
        settings.requote_ms,
        settings.horizon_ms,
        settings.LATENCY_MS,
        settings.CANCEL_LATENCY_MS,
        settings.FILL_RULE,
    ), unit


@dataclass(frozen=True)
class Recorded:
    """A run's tape, the files it was read from, and their SHA-256 by name."""

    files: LocalRun
    tape: Tape
    sha256: Mapping[str, str]


def tapes_of(folder: AnyPath, symbol: str) -> Sequence[RunFiles]:
    """The runs of a symbol, where all of them are tapes; none where any is a backtest."""
    runs = find_symbols(folder).get(symbol, ())
    return runs if all(run.is_tape for run in runs) else ()


def read_tapes(runs: Sequence[RunFiles], settings: Settings) -> list[Recorded]:
    """The tape of every run. Raises InputError."""
    out = []
    for files in runs:
        local = fetched(files)
        quotes = local.paths.get("quotes") or local.paths.get("state")
        tape = read_tape(
            local.paths["trades"], quotes, settings.EXCHANGE_TICK, settings.MAX_SET_ASIDE_FRACTION
        )
        tape = replace(tape, max_quote_age_ms=settings.MAX_STATE_GAP_MS)
        out.append(
            Recorded(local, tape, {files.label(p): _digest(p) for p in local.paths.values()})
        )
    return out


def tape_log(
    tapes: Sequence[Recorded], settings: Settings, quoter: Quoter | None = None
) -> TapeLog:
    """The log of virtual orders on these tapes, by another quoter than the settings' if given. Its
    state rows give the mid every CONSUMER_CLOCK_MS, without it at every change of the quotes."""
    own, unit = quoter_of(settings, tapes[0].tape.tick)
    quoter, clock_ms = quoter or own, settings.CONSUMER_CLOCK_MS
    runs = []
    for recorded in tapes:
        run = recorded.files.run
        orders, fills, state = virtual_tables(recorded.tape, quoter)
        if orders.empty:
            where = recorded.files.paths["trades"].name
            raise InputError("is too short for a virtual order", where=where, remedy="give more")
        state = state if clock_ms is None else _sampled(state, clock_ms)
        # They are what a reader makes of a good log, so that none is needed.
        runs.append(
            RunLog(
                orders,
                fills,
                state,
                max(int(table["recv_ms"].max()) for table in (orders, fills, state) if len(table)),
                name=run.name,
                warnings=recorded.tape.said,
                inputs_sha256=recorded.sha256,
                labels={kind: f"virtual {kind}" for kind in KINDS},
            )
        )
    return TapeLog(
        settings.SYMBOL,
        tuple(runs),
        tuple(text for one in tapes for text in one.files.run.warnings),
        tapes=tuple(one.tape for one in tapes),
        quoter=quoter,
        unit=unit,
    )


def _sampled(state: pd.DataFrame, clock_ms: float) -> pd.DataFrame:
    """The mid as it stood every so many ms, from the first row on."""
    time = state["recv_ms"].to_numpy()
    at = np.arange(time[0], time[-1] + 1, max(1, round(clock_ms)))
    row = np.searchsorted(time, at, side="right") - 1
    # Where nothing is known for long the rows stop too: an outage.
    fresh = np.append(True, row[1:] != row[:-1]) | (at - time[row] < 10 * clock_ms)
    return pd.DataFrame({"recv_ms": at[fresh], "mid": state["mid"].to_numpy()[row[fresh]]})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
