"""The original notebook's faults, put back one at a time: each must turn a test red.

A test of the accounting against the slow one, or of the fit, runs here on an estimator that is
broken on purpose and must fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mm.exposure import by_run as steps
from mm.exposure import segments, trials
from mm.exposure.accounting import Cells, Events
from mm.exposure.by_run import LaidOut
from mm.exposure.segments import Segments
from mm.logs.intervals import RestingIntervals
from tests.exposure import test_exposure
from tests.fitting import test_fit
from tests.support import slow

Patch = pytest.MonkeyPatch


def floor_the_distance(patch: Patch) -> None:
    """Whole ticks, cut off."""
    exact = steps.signed_ticks
    for module in (steps, segments, trials):
        patch.setattr(module, "signed_ticks", lambda *args: np.floor(exact(*args)))


def ignore_expiries(patch: Patch) -> None:
    """An order that expired rests on to the end of the run."""
    exact = steps.resting_intervals

    patch.setattr(
        steps, "resting_intervals", lambda *args, **given: exact(*args, **given, expire=False)
    )


def count_partial_fills(patch: Patch) -> None:
    """Every fill row is an event."""
    exact_intervals, exact_events = steps.resting_intervals, steps.events_of
    rows_of: dict[str, int] = {}

    def remembering(
        orders: pd.DataFrame, fills: pd.DataFrame, *args: Any, **given: Any
    ) -> RestingIntervals:
        rows_of.update(fills["order_id"].value_counts())
        return exact_intervals(orders, fills, *args, **given)

    def repeated(laid: LaidOut, tick_size: float) -> Events:
        found = exact_events(laid, tick_size)
        times = [rows_of[str(name)] for name in np.asarray(laid.orders.order_id)[found.order]]
        return Events(**{name: np.repeat(value, times) for name, value in vars(found).items()})

    patch.setattr(steps, "resting_intervals", remembering)
    patch.setattr(steps, "events_of", repeated)


def freeze_the_distance(patch: Patch) -> None:
    """An order keeps the distance that it had when it became active."""
    exact = steps.segments_of

    def frozen(*args: Any) -> Iterator[Segments]:
        for chunk in exact(*args):
            _, first, of = np.unique(
                np.column_stack([chunk.run, chunk.order]),
                axis=0,
                return_index=True,
                return_inverse=True,
            )
            yield replace(chunk, delta=chunk.delta[first][of.ravel()])

    patch.setattr(steps, "segments_of", frozen)


def skip_outages(patch: Patch) -> None:
    """A mid holds until the next, however old it is."""
    exact = steps.mid_path
    patch.setattr(
        steps,
        "mid_path",
        lambda *args, **given: exact(*args, **given | {"max_gap_ms": 10**12}),
    )


def drop_empty_distances(patch: Patch) -> None:
    """Distances where nothing was filled do not count."""
    exact = test_fit.fit_poisson

    def dropping(cells: Cells) -> Any:
        some = np.isin(cells.delta, cells.delta[cells.events > 0])
        columns = {name: v[some] for name, v in vars(cells).items() if v is not None}
        return exact(Cells(**columns))

    patch.setattr(test_fit, "fit_poisson", dropping)


def accounting() -> None:
    """Of an order policy with expiries, partial fills, outages and a moving mid."""
    log = test_exposure.simulated(test_exposure.small("all_at_once"), 3)
    test_exposure.assert_equals_slow([log], slow.Rules(block_ms=10_000))


MUTANTS: list[tuple[Callable[[Patch], None], Callable[[], None]]] = [
    (floor_the_distance, accounting),
    (ignore_expiries, accounting),
    (count_partial_fills, accounting),
    (freeze_the_distance, accounting),
    (skip_outages, accounting),
    (drop_empty_distances, test_fit.test_distances_where_nothing_was_filled_count),
]


@pytest.mark.parametrize(("mutate", "check"), MUTANTS, ids=lambda value: value.__name__)
def test_the_fault_is_found(
    mutate: Callable[[Patch], None], check: Callable[[], None], monkeypatch: Patch
) -> None:
    check()
    mutate(monkeypatch)
    with pytest.raises((AssertionError, ArithmeticError)):
        check()
