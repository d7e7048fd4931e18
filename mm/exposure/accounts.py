"""The accounting of a log by the settings: unit of distance, exposure, and what is left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mm.core.arrays import Floats
from mm.core.concurrency import give_back
from mm.core.display import html
from mm.core.errors import InputError
from mm.core.settings import Settings
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.exposure.reconcile import Reconciliation
from mm.logs.clock_check import ClockCheck, check_clocks
from mm.logs.load import BacktestLog
from mm.logs.log import Run
from mm.logs.mid_check import MidCheck, check_mids
from mm.logs.never_ended import NeverEnded, never_ended
from mm.logs.order_ids import is_one_of
from mm.logs.tick import TickSize, changed_grid, choose_tick


@dataclass(frozen=True, repr=False)
class Accounts:
    """The exposure accounting with the unit and the range of distances it is used at."""

    exposure: Exposure
    selection: Selection
    tick: TickSize
    reconciliation: Reconciliation
    clocks: ClockCheck
    open_orders: NeverEnded
    mids: MidCheck

    @property
    def fills_in_range(self) -> float:
        """Share of the first fills at a known mid whose distance is used; NaN without any."""
        delta = self.exposure.events.delta
        delta = delta[~np.isnan(delta)]
        return float(self.selection.contains(delta).mean()) if len(delta) else math.nan

    @property
    def ladder_spacing(self) -> float:
        """The largest 1, 2 or 5 times a power of ten, quote currency, that no more than a tenth of
        the orders were placed nearer to mid than; NaN where nobody knows."""
        by_run = [account.placed_at for account in self.exposure.accounts]
        level, n = (np.concatenate(column) for column in zip(*by_run, strict=True))
        placed = np.repeat(level[level > 0], n[level > 0])
        if not len(placed):
            return math.nan
        nearest = float(np.quantile(placed, 0.1)) * self.tick.value
        power = 10.0 ** math.floor(math.log10(nearest))
        return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= nearest * 1.000001)

    def records(self) -> pd.DataFrame:
        """One row an accepted order, see ``Exposure.records``."""
        return self.exposure.records()

    def __repr__(self) -> str:
        rec = self.reconciliation
        return f"<Accounts: {rec.fill_rows['event']} events in {rec.exposure_s:,.1f} s of exposure>"

    def _repr_html_(self) -> str:
        unit = f"δ in ticks of {self.tick.value:g}. {self.tick.remark}"
        return html(unit, self.reconciliation)


def account(log: BacktestLog, settings: Settings) -> Accounts:
    """Choose the tick size and account for every order-ms and every fill row.

    Raises InputError where no tick size was given and the prices show none.
    """
    tick = _tick(log, settings.TICK_SIZE)
    exposure = measure_exposure(
        log.runs,
        tick_size=tick.value,
        max_state_gap_ms=settings.MAX_STATE_GAP_MS,
        block_s=settings.BLOCK_S,
    )
    give_back()
    selection = Selection(settings.DISTANCE, settings.MIN_DELTA_TICKS, settings.MAX_DELTA_TICKS)
    return Accounts(
        exposure,
        selection,
        tick,
        exposure.reconciliation(selection),
        check_clocks([account.clocks for account in exposure.accounts]),
        never_ended([account.open_orders for account in exposure.accounts]),
        check_mids(log.runs),
    )


def _tick(log: BacktestLog, given: float | None) -> TickSize:
    """The unit of distance, given or seen in the prices of placements."""
    prices = np.concatenate([run.product(_placed_prices) for run in log.runs])
    try:
        return replace(choose_tick(given, prices), changed=changed_grid(prices))
    except ValueError as error:
        raise InputError(
            str(error), where=f"orders_{log.symbol}", column="price", remedy="give TICK_SIZE"
        ) from None


def _placed_prices(run: Run) -> Floats:
    """Prices of all placements, in the order of their rows, quote currency."""
    price = run.orders["price"].to_numpy(dtype=np.float64)
    return np.asarray(price[is_one_of(run.orders["action"], "PLACE")])
