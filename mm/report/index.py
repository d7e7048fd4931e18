"""``out/index.html``: all symbols on one page, those that need a person first.

Plain HTML that is complete without a script; a small inline script, allowed by its hash alone,
adds sorting and filtering.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from mm.core import formatting
from mm.core.formatting import figures
from mm.report import compare, words
from mm.report.compare import Line
from mm.report.frame import POLICY, TEMPLATES, page
from mm.report.spark import drawing, read_points
from mm.results.record import Record, notebook_name, params_name, points_name, report_name

INDEX_NAME = "index.html"
_LONGEST_REASON, _LONG_NAME = 300, 16


def render_index(
    records: Mapping[str, Record],
    out_dir: Path,
    previous: Mapping[str, Record] | None = None,
    *,
    this_run: Collection[str] | None = None,
    missing: Collection[str] = (),
    now: datetime | None = None,
) -> str:
    """The page as HTML text, to be written as ``out_dir/index.html``.

    ``records``: all symbols' latest, older ones too. ``previous``: as they were before this run.
    ``this_run``: the symbols of this run, None for all. ``missing``: those that should have been in
    it and have no files. ``out_dir`` is looked into for what can be linked to, and for points.
    """
    found = compare.lines(records, previous, this_run, missing)
    delta = compare.common_distance(records.values())
    script = (TEMPLATES / "mm" / "index.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    when = f"{now:%Y-%m-%d %H:%M} UTC, " if now else ""
    symbols = "1 symbol" if len(found) == 1 else f"{len(found)} symbols"
    body = (
        f'<p class="counts">{_counts(found)}</p>'
        f"<p>{when}{symbols}.</p>"
        f"<details><summary>What the columns say</summary><p>{_explained(delta)}</p></details>"
        '<div id="tools" role="search" hidden></div>'
        f"{_table(found, out_dir, delta)}<script>{script}</script>"
    )
    return page(
        "Fill calibration",
        compare.headline(found),
        body,
        style=(TEMPLATES / "mm" / "index.css").read_text(encoding="utf-8"),
        policy=f"{POLICY}; script-src 'sha256-{digest}'",
    )


def _counts(found: Sequence[Line]) -> str:
    every = compare.counts(found).items()
    return " ".join(f'<span class="{s}"><strong>{n}</strong> {s}</span>' for s, n in every)


def _explained(delta: float | None) -> str:
    told = "A, k and λ with 95 % intervals; λ in first fills per hour of a resting quote. "
    if delta is not None:
        told += (
            f"λ is compared at {delta:g} ticks of each symbol's own tick size, the middle of the "
            "distances at which each is known best; * where a symbol never quoted there. "
        )
    return told + (
        "Change: λ against the run before, at the distance where it is known best, and in "
        "standard errors (SE) of the change."
    )


def _table(found: Sequence[Line], out_dir: Path, delta: float | None) -> str:
    at = "λ per hour" if delta is None else f"λ per hour at {delta:g} ticks"
    head = ("symbol", "verdict", "λ(δ)", at, "A, 1/s", "k, 1/tick", "fills", "change", "files")
    top = "".join(f'<th scope="col">{name}</th>' for name in head)
    rows = "\n".join(_row(line, out_dir, delta) for line in found)
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Symbols">'
        f'<table id="symbols"><thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(line: Line, out_dir: Path, delta: float | None) -> str:
    record = line.record
    folder = out_dir / line.symbol
    inside = _is_inside(folder, out_dir)
    points = read_points(folder / points_name(line.symbol)) if inside else []
    rate = None if delta is None else compare.rate(record, delta)
    value = None if rate is None else rate.value
    change = line.change
    long = ' class="long"' if len(line.symbol) > _LONG_NAME else ""
    cells = [
        _cell(_verdict(line), compare.ORDER.index(line.status), "verdict-cell"),
        _cell(drawing(record, points), None),
        _cell(_rate(rate), value),
        _cell(_two_lines(words.level(record)), record.A),
        _cell(_two_lines(words.decay(record)), record.k),
        _cell("–" if record.n_fills is None else f"{record.n_fills:,}", record.n_fills),
        _cell(_change(line), None if change is None else abs(change.z or 0.0)),
        _cell(_links(line.symbol, out_dir) if inside else "–", None),
    ]
    return (
        f'<tr class="{line.status}"><th scope="row"{long}>{words.name(line.symbol)}</th>'
        + "".join(cells)
        + "</tr>"
    )


def _cell(content: str, sort_by: float | None, kind: str = "") -> str:
    key = "" if sort_by is None or not math.isfinite(sort_by) else f' data-v="{sort_by:.6g}"'
    kind = "none" if content == "–" else kind
    named = f' class="{kind}"' if kind else ""
    return f"<td{named}{key}>{content}</td>"


def _two_lines(estimate: str) -> str:
    """An estimate with its interval or half width beneath."""
    value, beneath = words.in_two(estimate)
    return f"{value}<br><small>{beneath}</small>" if beneath else value


def _verdict(line: Line) -> str:
    reason = line.reason
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON].rstrip()} …"
    told = f'<strong class="{line.status}">{line.status}</strong>'
    if line.before is not None and line.turned and not line.older:
        told += f" <small>was {line.before.status}</small>"
    if reason:
        told += f' <span class="why"><bdi>{words.text(reason)}</bdi></span>'
    if line.older:
        date = words.instant(line.record.finished_utc)
        told += f'<br><small class="older">of {date}, not in this run</small>'
    return told


def _rate(rate: compare.Rate | None) -> str:
    if rate is None:
        return "–"
    ends = None if rate.ends is None else (3600.0 * rate.ends[0], 3600.0 * rate.ends[1])
    mark = "" if rate.quoted else " *"
    if ends is None:
        return figures(3600.0 * rate.value) + mark
    value = formatting.rounded(3600.0 * rate.value, *ends)
    return f"{value}{mark}<br><small>{formatting.span(*ends)}</small>"


def _change(line: Line) -> str:
    """The change in words and in standard errors; why there is none."""
    change = line.change
    if line.older or line.status == "missing":
        return "–"
    if change is None:
        return "new" if line.before is None else "–"
    if change.same and abs(math.log(change.ratio)) < 1e-9:
        return "same data"
    told = words.times(change.ratio)
    if change.z is not None:
        told += f"<br><small>{words.signed(change.z)} SE</small>"
    return f"<strong>{told}</strong>" if change.news else told


def _links(symbol: str, out_dir: Path) -> str:
    """Relative links to the files that are there."""
    there = []
    for title, name in (
        ("report", report_name(symbol)),
        ("notebook", notebook_name(symbol)),
        ("params", params_name(symbol)),
    ):
        if (out_dir / symbol / name).is_file():
            target = f"{quote(symbol, safe='')}/{quote(name, safe='')}"
            label = words.text(f"{title} of {symbol}")
            there.append(f'<a href="{target}" aria-label="{label}">{title}</a>')
    return " ".join(there) or "–"


def _is_inside(folder: Path, out_dir: Path) -> bool:
    """Whether a symbol's name is the name of a folder here, and not a way out of it."""
    return folder.parent == out_dir and folder.name not in ("", ".", "..")
