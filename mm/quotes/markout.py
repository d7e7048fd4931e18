"""What a fill is worth some time later, and a quote per hour, by placement distance.

    markout(h) = sign (mid(t + h) - price), sign +1 for BUY, in ticks
    value per hour = 3600 N/T mean(qty (markout - fee)), N fills in T seconds of orders placed there

Only fills of makers are events, so that a taker's never counts. Intervals take blocks of time for
independent: the residuals of a ratio S/n summed by block, R_b = S_b - (S/n) n_b, have variance
B/(B - 1) sum R_b^2 / n^2 (Cochran 1977, "Sampling techniques", section 6.3), with t(B - 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints, Mask, sums_by
from mm.core.display import Table, html
from mm.core.formatting import figures, span
from mm.exposure.accounting import Exposure
from mm.exposure.by_run import Measure, laid_out, run_account
from mm.logs.log import Run
from mm.logs.order_ids import is_one_of

#: Seconds after the fill; a quote's value is that at the third.
HORIZONS_S = (0.1, 1.0, 10.0, 60.0)
VALUED = 2
#: Levels with fewer fills say nothing of a mean.
_FEWEST = 5


@dataclass(frozen=True, repr=False)
class QuoteValue:
    """By placement distance, whole ticks, shape (l,): ``levels``, ``fills``; ``markout``, ``low``,
    ``high``: mean and its 95 % interval at HORIZONS_S, (l, h), ticks; ``value``, ``value_low``,
    ``value_high``: per hour of one resting order, quote currency, or ticks per order where the log
    has no quantities (``has_qty``). ``best``: index of the best level, -1 without any; ``tied``:
    levels that can't be told from it at 5 %. ``fee_bps``: of the price, taken off."""

    levels: Ints
    fills: Ints
    markout: Floats
    low: Floats
    high: Floats
    value: Floats
    value_low: Floats
    value_high: Floats
    best: int
    tied: Mask
    fee_bps: float
    has_qty: bool

    @property
    def unit(self) -> str:
        """What ``value`` is in, per hour."""
        return "quote currency" if self.has_qty else "ticks per order"

    def __repr__(self) -> str:
        return f"<QuoteValue of {len(self.levels)} distances>"

    def _repr_html_(self) -> str:
        rows = [
            (
                f"{self.levels[i]}",
                f"{self.fills[i]:,}",
                *(
                    _shown(one, *ends) if h == VALUED else _shown(one)
                    for h, (one, *ends) in enumerate(
                        zip(self.markout[i], self.low[i], self.high[i], strict=True)
                    )
                ),
                _shown(self.value[i], self.value_low[i], self.value_high[i]),
                "best" if i == self.best else "as good" if self.tied[i] else "",
            )
            for i in range(len(self.levels))
        ]
        unit = self.unit
        note = (
            "Markout: mid so long after the fill against its price, ticks, your way. Per hour: of "
            f"one order resting there, {unit}, by that after {HORIZONS_S[VALUED]:g} s less a fee "
            f"of {self.fee_bps:.3g} bps. In brackets 95 %."
        )
        if len(self.value) and not (self.value_high > 0).any():
            note += " By this log no distance earns anything."
        head = ("placed at", "fills", *(f"{h:g} s" for h in HORIZONS_S), "per hour", "")
        return html(Table(head, rows, "What a quote is worth", note))


def quote_value(exposure: Exposure, fee_bps: float = 0.0) -> QuoteValue:
    """Markouts and value per hour of every placement distance with at least five fills."""
    events = exposure.events
    markout = markouts(exposure)
    price = exposure.event_price
    fee = fee_bps / 1e4 * np.abs(price) / exposure.tick_size
    has_qty = bool(len(events.qty) and np.isfinite(events.qty).all())
    weight = events.qty * exposure.tick_size if has_qty else np.ones(len(price))
    gain = weight * (markout[:, VALUED] - fee)
    kept, fills = np.unique(events.level, return_counts=True)
    worth = (kept >= 0) & (fills >= _FEWEST)
    kept, fills = kept[worth], fills[worth]
    n_blocks = 1 + int(max(exposure.sums.block.max(initial=0), events.block.max(initial=0)))
    row = _row(events.level, kept)

    def sums(values: Floats | Mask) -> Floats:
        """Sums over fills by level and block."""
        return _by_level(row, events.block, values, len(kept), n_blocks)

    means = np.full((3, len(kept), len(HORIZONS_S)), np.nan)
    for h, later in enumerate(markout.T):
        known = np.isfinite(later)
        top, bottom = sums(np.where(known, later, 0.0)), sums(known)
        for i in range(len(kept)):
            means[:, i, h] = _ratio(top[i], bottom[i])[:3]
    at_rest = exposure.sums
    of = _row(at_rest.places.level, kept)[at_rest.place]
    rests = _by_level(of, at_rest.block, at_rest.values[:, 0] / 3.6e6, len(kept), n_blocks)
    known = np.isfinite(gain)
    earned, valued = sums(np.where(known, gain, 0.0)), sums(known).sum(axis=1)
    values, residuals = np.full((3, len(kept)), np.nan), np.full((len(kept), n_blocks), np.nan)
    for i in np.flatnonzero((valued > 0) & (rests.sum(axis=1) > 0)).tolist():
        # Fills whose mid later on nobody knows are worth the others' mean.
        *values[:, i], residuals[i] = _ratio(fills[i] / valued[i] * earned[i], rests[i])
    best = int(np.nanargmax(values[0])) if np.isfinite(values[0]).any() else -1
    return QuoteValue(
        levels=kept,
        fills=fills,
        markout=means[0],
        low=means[1],
        high=means[2],
        value=values[0],
        value_low=values[1],
        value_high=values[2],
        best=best,
        tied=_tied(values[0], residuals, rests, best),
        fee_bps=fee_bps,
        has_qty=has_qty,
    )


def _row(level: Ints, levels: Ints) -> Ints:
    """Number of each one's level among these, behind them of any other."""
    return np.where(np.isin(level, levels), np.searchsorted(levels, level), len(levels))


def _by_level(row: Ints, block: Ints, values: Floats | Mask, n: int, n_blocks: int) -> Floats:
    """Sums of values by level and block, shape (n, n_blocks)."""
    by_cell = sums_by(row * n_blocks + block, values, (n + 1) * n_blocks)
    return by_cell.reshape(-1, n_blocks)[:-1]


def fee_in(runs: Sequence[Run]) -> float:
    """1e4 sum fee / sum price qty over the fills of makers, bps; 0 where the log has no fees."""
    sums = [run.product(_paid) for run in runs]
    paid, traded = sum(one for one, _ in sums), sum(other for _, other in sums)
    return 1e4 * paid / traded if traded > 0 else 0.0


def _paid(run: Run) -> tuple[float, float]:
    """Fees of one run's makers, and what they were paid on, quote currency."""
    fills = run.fills
    if not {"fee", "price", "qty"} <= set(fills):
        return 0.0, 0.0
    notional = np.abs(
        fills["price"].to_numpy(dtype=np.float64) * fills["qty"].to_numpy(dtype=np.float64)
    )
    fee = fills["fee"].to_numpy(dtype=np.float64)
    there: Mask = np.isfinite(fee) & np.isfinite(notional)
    if "liquidity" in fills:
        there &= ~is_one_of(fills["liquidity"], "TAKER", "T")
    return float(fee[there].sum()), float(notional[there].sum())


def markouts(exposure: Exposure) -> Floats:
    """Of each event at HORIZONS_S, shape (n, h), ticks; NaN where mid is not known then."""
    return np.concatenate([run.product(_markouts, exposure.measure) for run in exposure.runs])


def _markouts(run: Run, measure: Measure) -> Floats:
    """Those of one run."""
    account, path = run.product(run_account, measure), run.product(laid_out, measure).path
    events = account.events
    out = np.full((len(events.time_ms), len(HORIZONS_S)), np.nan)
    for h, seconds in enumerate(HORIZONS_S):
        then = events.time_ms + round(1000 * seconds)
        stretch = np.searchsorted(path.start_ms, then, side="right") - 1
        mid = np.where(then <= path.row_ms[-1], path.mid[stretch], np.nan)
        out[:, h] = events.side * (mid - account.event_price) / measure.tick_size
    return out


def _ratio(top: Floats, bottom: Floats) -> tuple[float, float, float, Floats]:
    """sum top / sum bottom with its 95 % interval, and what each block adds to its error."""
    total = float(bottom.sum())
    if not total > 0:
        return np.nan, np.nan, np.nan, np.full(len(top), np.nan)
    value = float(top.sum()) / total
    used = (bottom > 0) | (top != 0)
    n = int(used.sum())
    off = np.where(used, top - value * bottom, 0.0) / total
    if n < 2:
        return value, np.nan, np.nan, off
    reach = float(special.stdtrit(n - 1, 0.975)) * np.sqrt(n / (n - 1) * float((off**2).sum()))
    return value, value - reach, value + reach, off


def _tied(value: Floats, residuals: Floats, rests: Floats, best: int) -> Mask:
    """Levels whose value differs from the best one's by less than chance gives."""
    out = np.zeros(len(value), dtype=np.bool_)
    for i in range(len(value)):
        if best < 0 or i == best or not np.isfinite(value[i]):
            continue
        off = residuals[best] - residuals[i]
        n = int(((rests[best] > 0) | (rests[i] > 0)).sum())
        if n > 1:
            se = np.sqrt(n / (n - 1) * float((off**2).sum()))
            out[i] = value[best] - value[i] < float(special.stdtrit(n - 1, 0.975)) * se
    return out


def _shown(value: float, *ends: float) -> str | tuple[str, str]:
    text = figures(float(value)).replace("-", "−")
    return (text, span(*map(float, ends))) if ends and np.isfinite(ends).all() else text
