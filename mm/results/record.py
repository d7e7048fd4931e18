"""What a calibration leaves behind: its line in run.json and its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mm.core.errors import OutputError
from mm.core.formatting import age, utc
from mm.core.settings import FillSource
from mm.results.params import (
    AlternativeNumbers,
    Candidate,
    FindingNumbers,
    IntensityAt,
    Intervals,
    Pair,
    Params,
    PassiveFit,
    PlainNumbers,
    QuotedIntensity,
    ReplayNumbers,
    ThroughNumbers,
)

#: Under this name an executed notebook carries its outcome.
MIME = "application/vnd.mm.calibration+json"
#: ``missing``: expected, and without files; ``stale``: calibrated, on data older than may be. Both
#: are said by the books of a batch only, not by a symbol's own record.
Status = Literal["ok", "warn", "refused", "failed", "missing", "stale"]
#: Why a symbol failed; docs/batch.md and the failure page say what each means.
ErrorKind = Literal[
    "input", "exception", "dead_kernel", "deadline", "internal", "lost_worker", "unwritable"
]


class Freshness(BaseModel):
    """How old a log's last row was at a batch, by the words of dbt; ``limit_s``: the age that it
    exceeds where it does not pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    age_s: float
    status: Literal["pass", "warn", "error"] = "pass"
    limit_s: float | None = None


class Record(BaseModel):
    """What run.json says of one symbol. A and k are there for refused ones too, where they exist;
    ``error``, its kind and cell only for failed ones. ``fingerprint``: of everything the
    numbers follow from; ``covered_s``: time of the market in at least one run; ``mid``: its median;
    ``pages``: of the code that made its report; ``outputs``: SHA-256 of its files by name.
    ``spans_s``: time from first to last row of each kind of file, all runs together. ``log``: the
    log against that of the batch before; ``missing_since_utc``: the first batch that it was
    expected in and had no files. ``outdated``: its params file is marked as of a log that is
    missing or stale, and holds until ``valid_until``. ``forecast``: what is wrong with how its live
    parameters forecast, by the ledger. By the history: ``standing``: the status of the night before
    and of this one, in which ok and warn count once they hold a second night, ``usual_move``:
    standard deviation of log λ from a night to the next, ``drift``: small moves that add up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[FindingNumbers, ...] = ()
    A: float | None = None
    k: float | None = None
    ci95: Intervals | None = None
    cov_logA_k: tuple[Pair, Pair] | None = None
    lambda_at: IntensityAt | None = None
    lambda_quoted: tuple[QuotedIntensity, ...] = ()
    replay: ReplayNumbers | None = None
    passive: PassiveFit | None = None
    through: ThroughNumbers | None = None
    candidates: dict[str, Candidate] = {}
    original: PlainNumbers | None = None
    original_error: str | None = None
    n_fills: int | None = None
    exposure_s: float | None = None
    lambda_upper: float | None = None
    tick_size: float | None = None
    dt_ms: int | None = None
    fill_source: FillSource | None = None
    virtual_orders: str | None = None
    alternatives: tuple[AlternativeNumbers, ...] = ()
    fill_fraction: float | None = None
    window_ms: tuple[int, int] | None = None
    covered_s: float | None = None
    mid: float | None = None
    spans_s: dict[str, float] = {}
    runs: int = 1
    error: str | None = None
    error_kind: ErrorKind | None = None
    error_cell: int | None = None
    inputs_sha256: dict[str, str] = {}
    settings: dict[str, Any] = {}
    settings_from: dict[str, str] = {}
    fingerprint: str | None = None
    pages: str | None = None
    outputs: dict[str, str] = {}
    attempts: int = 1
    seconds: float | None = None
    finished_utc: str | None = None
    log: Literal["new", "unchanged", "smaller"] | None = None
    freshness: Freshness | None = None
    missing_since_utc: str | None = None
    outdated: bool = False
    valid_until: str | None = None
    forecast: str | None = None
    standing: tuple[Status, Status] | None = None
    usual_move: float | None = None
    drift: str | None = None

    @property
    def reason(self) -> str:
        """Why it is not ok, without the cause: the first reason or the error, or what is wrong with
        its log; empty for ok."""
        if self.status == "missing":
            return f"no files; {self._figures_of}"
        if self.status == "stale" and self.freshness and self.freshness.limit_s:
            allowed = age(self.freshness.limit_s)
            return f"its last row is {age(self.freshness.age_s)} old, error_after is {allowed}"
        return self.error or (self.reasons[0].split(". ")[0] if self.reasons else "")

    @property
    def _figures_of(self) -> str:
        if self.window_ms is None:
            return "no older figures"
        return f"figures of data until {utc(self.window_ms[1])[:-3]} UTC"

    @property
    def bps_per_tick(self) -> float | None:
        """One tick in basis points of mid; None where mid or tick are not known, or mid is not
        positive."""
        if not self.tick_size or self.mid is None or not self.mid > 0:
            return None
        return 1e4 * self.tick_size / self.mid

    @property
    def tick_inferred(self) -> bool:
        """Whether the unit of the distance was seen in the prices, since nobody gave it."""
        return bool(self.tick_size) and self.settings.get("TICK_SIZE", 0) is None

    @property
    def tick(self) -> str:
        """The unit of the distance in words; empty if there is none."""
        if not self.tick_size:
            return ""
        seen = ", seen in the prices" if self.tick_inferred else ""
        return f"tick size {self.tick_size:g}{seen}"


class Outcome(BaseModel):
    """A calibration that ran to its end: its presence is the marker that it did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    record: Record
    params: Params | None
    points_csv: str
    schedule: dict[str, Any] | None = None
    quotes: dict[str, Any] | None = None


def notebook_name(symbol: str) -> str:
    """File name of a symbol's executed notebook."""
    return f"calibration_{symbol}.ipynb"


def report_name(symbol: str) -> str:
    """File name of a symbol's report."""
    return f"report_{symbol}.html"


def params_name(symbol: str) -> str:
    """File name of a symbol's parameters."""
    return f"params_{symbol}.json"


def points_name(symbol: str) -> str:
    """File name of a symbol's empirical intensities."""
    return f"points_{symbol}.csv"


def schedule_name(symbol: str) -> str:
    """File name of a symbol's parameters over time."""
    return f"schedule_{symbol}.json"


def quotes_name(symbol: str) -> str:
    """File name of a symbol's optimal quotes."""
    return f"quotes_{symbol}.json"


def consumed(symbol: str) -> tuple[str, str, str]:
    """The files that a consumer acts on: none of them may outlive its numbers."""
    return params_name(symbol), schedule_name(symbol), quotes_name(symbol)


def write_outcome(outcome: Outcome, symbol: str, folder: Path) -> list[Path]:
    """Write points, schedule, quotes and, last, parameters; each file is whole or absent.

    A refused calibration takes away older parameters: a consumer must not go on with numbers
    that no longer hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    params, schedule, quotes = (folder / name for name in consumed(symbol))
    written = [write_text(folder / points_name(symbol), outcome.points_csv)]
    for path, content in ((schedule, outcome.schedule), (quotes, outcome.quotes)):
        if content is None:
            path.unlink(missing_ok=True)
        else:
            text = json.dumps(content, indent=2, allow_nan=False) + "\n"
            written.append(write_text(path, text))
    if outcome.params is None:
        params.unlink(missing_ok=True)
    else:
        written.append(write_text(params, outcome.params.to_json()))
    return written


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all: beside it, synced, then renamed.

    Raises OutputError, one line.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError.of(error, path) from None
    return path
