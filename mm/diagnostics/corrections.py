"""From the original notebook's numbers to ours, one correction a step, on the user's own log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm.core.arrays import Mask, slices
from mm.core.display import Table, html
from mm.core.errors import EstimateError
from mm.core.formatting import figures
from mm.diagnostics.draws import Draws
from mm.diagnostics.replay import replay
from mm.exposure.accounting import Exposure
from mm.exposure.cells import Cells, CellSums, make_cells, sum_by_cell, to_parts
from mm.exposure.distance import Selection, signed_ticks
from mm.exposure.midpath import OUTAGE, MidPath
from mm.exposure.segments import segments_of
from mm.fitting.fill_model import PoissonFillModel
from mm.fitting.fit import fit_poisson
from mm.fitting.original_points import BucketSums
from mm.logs.intervals import EVENT, EXPIRED, RestingIntervals, is_virtual, resting_intervals
from mm.logs.log import Run

#: The original notebook's default time step, ms.
ORIGINAL_DT_MS = 100


@dataclass(frozen=True)
class Step:
    """One line: what was corrected, and A (1/s), k (1/tick) and predicted fills after it.

    ``name`` says it in two or three words, for a figure. A step whose table has no fit has NaN
    and says why.
    """

    name: str
    what: str
    A: float
    k: float
    fills: float
    error: str = ""


@dataclass(frozen=True)
class Waterfall:
    """The steps, first the original, last ours; ``observed``: first fills in the log."""

    steps: tuple[Step, ...]
    observed: int

    @property
    def sentence(self) -> str:
        """What a user of the original notebook should know, in one sentence."""
        first, last = self.steps[0], self.steps[-1]
        old = f"{first.fills:,.0f} fills" if math.isfinite(first.fills) else "no fit"
        return (
            "The original notebook's parameters, in your own backtester's rule on this log: "
            f"{old}; the log has {self.observed:,}; these parameters: {last.fills:,.0f}."
        )

    def _repr_html_(self) -> str:
        rows = [
            (s.what, figures(s.A), figures(s.k), f"{s.fills:,.0f}", "")
            if math.isfinite(s.A)
            else (s.what, "", "", "", s.error)
            for s in self.steps
        ]
        rows.append(("observed first fills", "", "", f"{self.observed:,}", ""))
        head = (
            "one correction at a time",
            "A (1/s)",
            "k (1/tick)",
            "fills predicted",
            "",
        )
        return html(self.sentence, Table(head, rows))


def waterfall(
    runs: Sequence[Run],
    exposure: Exposure,
    draws: Draws,
    selection: Selection,
    *,
    original: tuple[float, float] | str,
    min_exposure_s: float,
    final: PoissonFillModel,
) -> Waterfall | None:
    """Correct the original's faults one after the other; None for what it can't read: pooled runs
    and virtual orders.

    ``original`` is the old notebook's (A, k), or what it raises. Each step keeps the corrections
    before it. Predicted fills are those of the consumer's rule on the log's own quotes; dt_ms is
    corrected first, so that the other steps compare like with like.
    """
    if len(runs) != 1 or is_virtual(runs[0].fills):
        return None
    run, tick = runs[0], exposure.tick_size

    def step(
        name: str, what: str, model: tuple[float, float] | str, dt_ms: int = final.dt_ms
    ) -> Step:
        if isinstance(model, str):
            return Step(name, what, math.nan, math.nan, math.nan, model)
        judged = PoissonFillModel(model[0], model[1], dt_ms, tick)
        return Step(name, what, *model, replay(draws, judged).given)

    orders = exposure.laid_out(0).orders
    args = (exposure, tick, selection, min_exposure_s)
    frozen = first_fills = _frozen(orders, *args)
    if (orders.ended_by == EXPIRED).any():
        unexpiring = resting_intervals(
            run.orders, run.fills, run.end_ms, codes=run.codes, expire=False
        )
        first_fills = _frozen(unexpiring, *args)
    steps = [
        step(
            "original notebook",
            f"original notebook, dt_ms = {ORIGINAL_DT_MS}",
            original,
            ORIGINAL_DT_MS,
        ),
        step("one draw a tick", f"one draw a tick: dt_ms = {final.dt_ms}", original),
        step("first fills only", "count an order's first fill, not its partial fills", first_fills),
        step("expiry and cancel", "end an order at its expiry or cancel", frozen),
    ]
    everlasting = cells_through_outages(run, exposure, selection)
    known = exposure.cells(selection)
    steps += [
        step(
            "mid as it moves",
            "follow mid while the order rests",
            _line(everlasting, selection, min_exposure_s),
        ),
        step(
            "outages left out",
            "leave out time without a mid",
            _line(known, selection, min_exposure_s),
        ),
        step("exact distances", "likelihood at exact distances, no line", _likelihood(known)),
        step("these parameters", "these parameters", (final.A, final.k)),
    ]
    observed = int((~np.isnan(exposure.events.delta)).sum())
    return Waterfall(tuple(steps), observed)


def _frozen(
    orders: RestingIntervals,
    exposure: Exposure,
    tick: float,
    selection: Selection,
    min_exposure_s: float,
) -> tuple[float, float] | str:
    """First fills over resting time at the distance that each order had when it became active."""
    path, sums = exposure.laid_out(0).path, BucketSums()
    for some in slices(len(orders.price)):
        start = orders.start_ms[some]
        # The last mid known then, outage or not, as the original looks it up.
        row = np.searchsorted(path.row_ms, start, side="right") - 1
        known = row >= 0
        delta = np.abs(orders.price[some] - path.row_mid[row])[known] / tick
        rested_ms, event = orders.end_ms[some] - start, orders.fill_status[some] == EVENT
        sums.add(np.floor(delta).astype(np.int64), (rested_ms[known], event[known]))
    return _weighted_line(sums, selection, min_exposure_s)


def _line(cells: Cells, selection: Selection, min_exposure_s: float) -> tuple[float, float] | str:
    """The original's weighted line through the exact exposure."""
    sums = BucketSums()
    bucket = np.floor(np.abs(cells.delta)).astype(np.int64)
    sums.add(bucket, (cells.exposure_ms, cells.events))
    return _weighted_line(sums, selection, min_exposure_s)


def _weighted_line(
    sums: BucketSums, selection: Selection, min_exposure_s: float
) -> tuple[float, float] | str:
    """``sums``: order-ms and events by whole ticks."""
    bucket, (rested_ms, n) = sums.total()
    t = rested_ms / 1000.0
    used = (bucket >= selection.min_ticks) & (bucket <= selection.max_ticks)
    used &= (t >= min_exposure_s) & (n > 0)
    if int(used.sum()) < 2:
        return "fewer than two buckets with fills"
    slope, level = np.polyfit(bucket[used], np.log(n[used] / t[used]), deg=1, w=t[used])
    return math.exp(level), -float(slope)


def _likelihood(cells: Cells) -> tuple[float, float] | str:
    try:
        fit = fit_poisson(cells)
    except EstimateError as error:
        return str(error)
    return fit.A, fit.k


def cells_through_outages(run: Run, exposure: Exposure, selection: Selection) -> Cells:
    """Sums by (block, side, distance) of one run, its outages at the mid before them.

    Where a malformed row hides the mid it stays unknown.
    """
    laid, e = exposure.laid_out(0), exposure.events
    path, orders = laid.path, laid.orders
    silent, held = _held_through(path, run)
    at = path.just_before(e.time_ms)
    lost = silent[at]
    if not exposure.unknown_ms[OUTAGE] and not lost.any():
        return exposure.cells(selection)
    known = exposure.sums
    total = CellSums()
    total.add(replace(known, values=known.values[:, :1]))
    for s in segments_of(orders, held, laid.on_path, exposure.tick_size, silent):
        total.add(sum_by_cell(s.block, s.side, s.level, to_parts(s.delta), (s.duration_ms,)))
    price = orders.price[e.order]
    there = signed_ticks(e.side, price, held.mid[at], exposure.tick_size)
    delta = np.where(lost, there, e.delta)
    return make_cells(total.total(), e.block, e.side, e.level, delta, e.qty, selection)


def _held_through(path: MidPath, run: Run) -> tuple[Mask, MidPath]:
    """The stretches that are outages for silence, and the path with the last mid in them."""
    silent = path.status == OUTAGE
    at = np.flatnonzero(silent)
    row = np.searchsorted(path.row_ms, path.start_ms[at], side="right") - 1
    blind_ms = np.sort(run.blind_ms)
    until = np.searchsorted(blind_ms, path.start_ms[at], side="right")
    hidden = until > np.searchsorted(blind_ms, path.row_ms[row], side="left")
    silent[at[hidden]] = False
    mid = path.mid.copy()
    mid[at[~hidden]] = path.row_mid[row[~hidden]]
    return silent, replace(path, mid=mid)
