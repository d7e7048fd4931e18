"""A backtest's log as it was read: its runs, and what was wrong with which row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mm.core.display import Notes, Table, html
from mm.core.fill_source import FillSource
from mm.core.formatting import utc
from mm.logs.files import KINDS, Kind
from mm.logs.run import Run


@dataclass(frozen=True)
class SetAside:
    """Rows that break the contract and were left out, by file and cause."""

    file: str
    rows: int
    of: int
    what: str
    first_row: int

    def __str__(self) -> str:
        more = f" and {self.rows - 1} more" if self.rows > 1 else ""
        return f"{self.file}, row {self.first_row}{more}: {self.what}; left out"


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
        reasons = [set(run.fills["reason"].unique()) for run in self.runs if "reason" in run.fills]
        names = {str(name) for found in reasons for name in found if name}
        drawn = {name for name in names if name.startswith("poisson")}
        if not names:
            return "unknown"
        if drawn:
            return "poisson" if drawn == names else "mixed"
        return "trade_driven"

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

    def __repr__(self) -> str:
        rows = ", ".join(f"{sum(len(getattr(r, k)) for r in self.runs):,} {k}" for k in KINDS)
        return f"<{type(self).__name__} {self.symbol}: {len(self.runs)} run(s), {rows}>"

    def _repr_html_(self) -> str:
        rows = []
        for run in self.runs:
            took = f"{(run.end_ms - run.start_ms) / 60_000:.1f} min"
            counts = [f"{len(getattr(run, kind)):,}" for kind in KINDS]
            rows.append([run.name, utc(run.start_ms), utc(run.end_ms), took, *counts])
        head = ("run", "from (UTC)", "to", "duration", *(f"{kind} rows" for kind in KINDS))
        notes = [*self.warnings, *(w for run in self.runs for w in run.warnings)]
        return html(Table(head, rows), Notes([*notes, *map(str, self.set_aside)]))
