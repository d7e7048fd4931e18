"""Empirical fill intensity by distance: what the eye compares the fit with.

Buckets are whole ticks, cut after rounding to 1e-6 tick. The fit never sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from mm.core.arrays import Floats, Ints, distinct, sums_by
from mm.core.display import Table, html
from mm.core.formatting import figures
from mm.exposure.accounting import Exposure
from mm.exposure.by_run import Measure, laid_out
from mm.exposure.distance import Selection, buckets
from mm.exposure.segments import segments_of
from mm.logs.log import Run

_HEAD = (
    "δ bucket", "mean δ", "exposure (s)", "events", "qty", "orders", "λ (1/s)", "95 % from", "to",
    "qty/s",
)  # fmt: skip

#: The bucket of all negative distances.
THROUGH = -1
#: Buckets are fewer than this.
_MOST_BUCKETS = 1 << 36
#: Buckets with less than this share of the exposure and no event are not listed.
_WORTH_SHOWING = 0.002


@dataclass(frozen=True, repr=False)
class EmpiricalIntensity:
    """One entry a bucket [b, b + 1) of distances with exposure or events. Arrays of shape (n,).

    ``bucket``: b, ticks; THROUGH of all quotes together that mid has run through. ``delta``:
    exposure-weighted mean distance, ticks. ``exposure_s``: s. ``events``: first fills. ``qty``:
    base currency filled in them. ``n_orders``: orders that rested there.
    """

    bucket: Ints
    delta: Floats
    exposure_s: Floats
    events: Ints
    qty: Floats
    n_orders: Ints

    @property
    def rate(self) -> Floats:
        """Events per second and resting order, NaN without exposure."""
        return _ratio(self.events.astype(np.float64), self.exposure_s)

    @property
    def size_rate(self) -> Floats:
        """Quantity per second and resting order, base currency/s, NaN without exposure."""
        return _ratio(self.qty, self.exposure_s)

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """Exact 95 % interval of the rate, 1/s; after no event the lower end is 0."""
        low, high = poisson_interval(self.events)
        return _ratio(low, self.exposure_s), _ratio(high, self.exposure_s)

    @property
    def points(self) -> pd.DataFrame:
        """The table, one row a bucket."""
        low, high = self.interval
        return pd.DataFrame(
            {
                "delta_bucket": self.bucket,
                "delta_mean": self.delta,
                "exposure_s": self.exposure_s,
                "fill_events": self.events,
                "filled_qty": self.qty,
                "n_orders": self.n_orders,
                "lambda_events_per_s": self.rate,
                "lambda_ci95_low": low,
                "lambda_ci95_high": high,
                "lambda_qty_per_s": self.size_rate,
            }
        )

    def __repr__(self) -> str:
        return (
            f"<EmpiricalIntensity: {int(self.events.sum())} events in {len(self.bucket)} buckets>"
        )

    def _repr_html_(self) -> str:
        worth = (self.events > 0) | (self.exposure_s >= _WORTH_SHOWING * self.exposure_s.sum())
        rows = [
            [f"{x:,}" if isinstance(x, int) else figures(x) for x in row]
            for row in self.points[worth].astype(object).itertuples(index=False)
        ]
        if rows and self.bucket[worth][0] == THROUGH:
            rows[0][0] = "run through"
        rest, told = int((~worth).sum()), ""
        if rest:
            share = float(self.exposure_s[~worth].sum() / self.exposure_s.sum())
            told = f"{rest} more buckets hold {share:.1%} of the exposure and no fill."
        return html(Table(_HEAD, rows), told)


def empirical_intensity(exposure: Exposure, selection: Selection) -> EmpiricalIntensity:
    """Exposure, events and orders by whole-tick bucket over the chosen range of distances."""
    cells = exposure.cells(selection)
    bucket = _buckets(cells.delta)
    labels, of = np.unique(bucket, return_inverse=True)
    seconds = sums_by(of, cells.exposure_s, len(labels))
    mean = sums_by(of, cells.exposure_s * cells.delta, len(labels))
    return EmpiricalIntensity(
        bucket=labels,
        delta=np.where(seconds > 0, _ratio(mean, seconds), labels + 0.5),
        exposure_s=seconds,
        events=sums_by(of, cells.events, len(labels)).astype(np.int64),
        qty=sums_by(of, cells.qty, len(labels)),
        n_orders=_orders_by_bucket(exposure, labels, selection),
    )


def _buckets(delta: Floats) -> Ints:
    return buckets(np.maximum(delta, float(THROUGH)))


def poisson_interval(events: Ints, level: float = 0.95) -> tuple[Floats, Floats]:
    """Exact interval of a Poisson mean: chi2(a/2; 2N)/2 .. chi2(1 - a/2; 2N + 2)/2 (Garwood 1936).

    Written with the inverse of the incomplete gamma function, of which chi-squared is a case.
    """
    tail = (1.0 - level) / 2.0
    n = events.astype(np.float64)
    low = np.where(n > 0, special.gammaincinv(np.maximum(n, 1.0), tail), 0.0)
    return low, np.asarray(special.gammaincinv(n + 1.0, 1.0 - tail), dtype=np.float64)


def _orders_by_bucket(exposure: Exposure, labels: Ints, selection: Selection) -> Ints:
    out = np.zeros(len(labels), dtype=np.int64)
    for run in exposure.runs:
        bucket, n = run.product(_orders_in_buckets, exposure.measure, selection)
        out[np.searchsorted(labels, bucket)] += n
    return out


def _orders_in_buckets(run: Run, measure: Measure, selection: Selection) -> tuple[Ints, Ints]:
    """Buckets that orders of a run rested in, and how many."""
    laid = run.product(laid_out, measure)
    found: list[Ints] = [np.zeros(0, dtype=np.int64)]
    last, before = -1, found[0]
    for s in segments_of(laid.orders, laid.path, laid.on_path, measure.tick_size):
        seg = selection.contains(s.delta)
        if not seg.any():
            continue
        # One number a bucket: sorting rows of two columns takes ten times as long.
        key = s.order[seg] * _MOST_BUCKETS + _buckets(selection.measure(s.delta[seg])) - THROUGH
        # Orders follow each other, and most moves of mid leave them in their bucket.
        pairs = distinct(key[np.append(True, key[1:] != key[:-1])])
        # An order may go on in the next chunk: what was counted of it counts once.
        found.append(pairs[~np.isin(pairs, before)] if len(before) else pairs)
        mine = pairs[pairs // _MOST_BUCKETS == int(s.order[-1])]
        before = np.union1d(before, mine) if int(s.order[-1]) == last else mine
        last = int(s.order[-1])
    bucket, n = np.unique(np.concatenate(found) % _MOST_BUCKETS + THROUGH, return_counts=True)
    return bucket, n.astype(np.int64)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    out: Floats = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out
