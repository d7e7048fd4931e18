"""``out/index.html``: all symbols on one page, those that need a person first.

Plain HTML that is complete without a script; a small inline script, allowed by its hash alone,
adds sorting and filtering.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mm.core import formatting
from mm.core.formatting import figures
from mm.report import compare, words
from mm.report.causes import shortened
from mm.report.compare import Distance, Line
from mm.report.drift import DRIFT_NAME
from mm.report.morning import first_line
from mm.report.render import POLICY, render, source
from mm.report.spark import drawing, read_points
from mm.results.record import Record, notebook_name, params_name, points_name, report_name

INDEX_NAME = "index.html"
_LONGEST_REASON = 300


def render_index(
    records: Mapping[str, Record],
    out_dir: Path,
    previous: Mapping[str, Record] | None = None,
    *,
    this_run: Collection[str] | None = None,
    now: datetime | None = None,
) -> str:
    """The page as HTML text, to be written as ``out_dir/index.html``.

    ``records``: all symbols' latest, older ones too. ``previous``: as they were before this run.
    ``this_run``: the symbols of this run, missing ones too; None for all. ``out_dir`` is looked
    into for what can be linked to, and for points.
    """
    found = compare.lines(records, previous, this_run)
    at = compare.common_distance(records.values())
    script = source("index.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    when = f"{now:%Y-%m-%d %H:%M} UTC, " if now else ""
    symbols = "1 symbol" if len(found) == 1 else f"{len(found)} symbols"
    rate = "λ per hour" if at is None else f"λ per hour at {at}"
    return render(
        "index",
        title="Fill calibration",
        status=first_line(line.record for line in found if not line.older),
        policy=f"{POLICY}; script-src 'sha256-{digest}'",
        script=script,
        counts=compare.counts(found),
        when=f"{when}{symbols}.",
        drift=DRIFT_NAME if (out_dir / DRIFT_NAME).is_file() else "",
        explained=_explained(at),
        head=("symbol", "verdict", "λ(δ)", rate, "A, 1/s", "k, 1/tick", "fills", "change", "files"),
        rows=[_row(line, out_dir, at) for line in found],
    )


def _explained(at: Distance | None) -> str:
    text = "A, k and λ with 95 % intervals; λ in first fills per hour of a resting quote. "
    if at is not None:
        text += (
            f"λ is compared at {at} of each symbol, the middle of the distances at which each is "
            "known best; * where a symbol never quoted there. "
        )
    return text + (
        "Change: λ against the run before, at the distance where it is known best, and in "
        "standard errors (SE) of the change."
    )


@dataclass(frozen=True)
class _Cell:
    """A number as text, what stands beneath it, and what to sort it by."""

    text: str = "–"
    beneath: str = ""
    key: float | None = None


def _row(line: Line, out_dir: Path, at: Distance | None) -> dict[str, Any]:
    record = line.record
    folder = out_dir / line.symbol
    inside = _is_inside(folder, out_dir)
    points = read_points(folder / points_name(line.symbol)) if inside else []
    rate = compare.rate(record, at)
    fills = "–" if record.n_fills is None else f"{record.n_fills:,}"
    before = line.before if not line.older else None
    was = before.status if before and before.status != line.status else ""
    return {
        "symbol": line.symbol,
        "status": line.status,
        "order": compare.ORDER.index(line.status),
        "was": was,
        "reason": shortened(line.reason, _LONGEST_REASON),
        "of_log": "; ".join(filter(None, [record.forecast, line.drift, line.of_log])),
        "older": words.instant(record.finished_utc) if line.older else "",
        "drawn": drawing(record, points),
        "numbers": (
            _rate(rate),
            _Cell(*words.in_two(words.level(record)), record.A),
            _Cell(*words.in_two(words.decay(record)), record.k),
            _Cell(fills, "", record.n_fills),
            _change(line),
        ),
        "news": line.change is not None and line.change.news and not line.older,
        "links": _links(line.symbol, out_dir) if inside else [],
    }


def _rate(rate: compare.Rate | None) -> _Cell:
    if rate is None:
        return _Cell()
    value, mark = 3600.0 * rate.value, "" if rate.quoted else " *"
    if rate.ends is None:
        return _Cell(figures(value) + mark, "", value)
    ends = (3600.0 * rate.ends[0], 3600.0 * rate.ends[1])
    return _Cell(formatting.rounded(value, *ends) + mark, formatting.span(*ends), value)


def _change(line: Line) -> _Cell:
    """The change in words and in standard errors; why there is none."""
    change = line.change
    if line.older or line.status == "missing":
        return _Cell()
    if change is None:
        return _Cell("new" if line.before is None else "–")
    z = abs(change.z or 0.0)
    if change.same and abs(math.log(change.ratio)) < 1e-9:
        return _Cell("same data", "", z)
    beneath = "" if change.z is None else f"{words.signed(change.z)} SE"
    return _Cell(words.times(change.ratio), beneath, z)


def _links(symbol: str, out_dir: Path) -> list[tuple[str, str]]:
    """Relative links to the files that are there."""
    return [
        (title, f"{quote(symbol, safe='')}/{quote(name, safe='')}")
        for title, name in (
            ("report", report_name(symbol)),
            ("notebook", notebook_name(symbol)),
            ("params", params_name(symbol)),
        )
        if (out_dir / symbol / name).is_file()
    ]


def _is_inside(folder: Path, out_dir: Path) -> bool:
    """Whether a symbol's name is the name of a folder here, and not a way out of it."""
    return folder.parent == out_dir and folder.name not in ("", ".", "..")
