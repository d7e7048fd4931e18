"""The accounting of docs/code.md: against slow loops, by hand, and by its laws."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.errors import InputError
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.exposure.places import Places
from mm.exposure.reconcile import Reconciliation
from mm.exposure.segments import FARTHEST, joined
from mm.exposure.trials import rows_at_risk, trial_cells, trial_sums
from mm.fitting.intensity import empirical_intensity
from mm.logs.load import log_from_frames
from mm.simulate import Scenario, simulate
from mm.simulate.demo import SCENARIOS
from tests.support import slow

# --- what the fast accounting says, in the shape of the slow one -------------------------------


def measure(runs: list[slow.Frames], rules: slow.Rules) -> Exposure:
    return measure_exposure(
        log_from_frames(runs).runs,
        tick_size=rules.tick_size,
        max_state_gap_ms=rules.max_gap_ms,
        block_s=rules.block_ms / 1000.0,
    )


def selection_of(rules: slow.Rules) -> Selection:
    return Selection("signed" if rules.signed else "absolute", rules.min_ticks, rules.max_ticks)


def keyed(cells: Any, values: Any, n_blocks: list[int]) -> dict[slow.Key, int]:
    """Positive values by (run, block of the run, side, millionths of a tick, level)."""
    run_of = [(run, b) for run, n in enumerate(n_blocks) for b in range(n)]
    out: dict[slow.Key, int] = {}
    columns = (cells.block, cells.side, cells.delta, cells.level, values)
    for block, side, delta, level, value in zip(*columns, strict=True):
        if value:
            key = (*run_of[block], "BUY" if side > 0 else "SELL", round(delta * 1e6), level)
            assert key not in out, "a cell must stand once"
            out[key] = int(value)
    return out


def positive(counts: Any) -> dict[str, int]:
    return {name: n for name, n in counts.items() if n}


def assert_equals_slow(runs: list[slow.Frames], rules: slow.Rules) -> slow.Sums:
    """Same keys, same integers, same counts by cause."""
    sums = slow.account(runs, rules)
    exposure, selection = measure(runs, rules), selection_of(rules)
    cells = exposure.cells(selection)
    assert keyed(cells, cells.exposure_ms, sums.n_blocks) == positive(sums.exposure_ms)
    assert keyed(cells, cells.events, sums.n_blocks) == positive(sums.events)
    found = exposure.reconciliation(selection)
    assert positive(found.order_ms) == positive(sums.order_ms)
    assert positive(found.fill_rows) == positive(sums.fill_rows)
    assert positive(found.orders) == positive(sums.orders)
    assert dict(found.ignored_actions) == dict(sums.ignored)
    if sums.pairs:
        total = sum(sums.exposure_ms.values())
        assert exposure.mean_state_gap_ms(selection) == total / sums.pairs
    else:
        assert np.isnan(exposure.mean_state_gap_ms(selection))
    trials = trial_cells(trial_sums(exposure, drawn=True), selection, 1)
    assert keyed(trials, trials.trials, sums.n_blocks) == positive(sums.trials)
    assert keyed(trials, trials.events, sums.n_blocks) == positive(sums.trial_events)
    at_risk = trial_cells(trial_sums(exposure, drawn=False), selection, 1)
    assert keyed(at_risk, at_risk.trials, sums.n_blocks) == positive(sums.at_risk)
    assert at_risk.events.sum() == 0
    for drawn, counted in ((True, sums.trials), (False, sums.at_risk)):
        pairs = joined(list(rows_at_risk(exposure, drawn=drawn)))
        assert int(selection.contains(pairs["delta"]).sum()) == sum(counted.values())
    return sums


# --- (a) simulated logs ------------------------------------------------------------------------


def simulated(scenario: Scenario, seed: int) -> slow.Frames:
    log = simulate(scenario, seed)
    return log.orders, log.fills, log.state


def small(name: str) -> Scenario:
    """A named scenario, short enough for plain loops."""
    scenario = SCENARIOS[name][1]
    outages = ((25.0, 20.0), (60.0, 6.0)) if scenario.outages else ()
    return replace(scenario, duration_s=90.0, outages=outages)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_equals_the_slow_accounting_on_a_simulated_log(name: str) -> None:
    rules = slow.Rules(block_ms=10_000)
    sums = assert_equals_slow([simulated(small(name), 3)], rules)
    assert sum(sums.events.values()) > 50
    if small(name).outages:
        assert sums.order_ms["outage (mid older than MAX_STATE_GAP_MS)"] > 0


@pytest.mark.parametrize(
    "rules",
    [
        slow.Rules(signed=True, min_ticks=-2.0, max_ticks=4.5),
        slow.Rules(signed=True),
        slow.Rules(min_ticks=1.5, max_ticks=3.0),
        slow.Rules(max_gap_ms=101, block_ms=7_777),
        slow.Rules(tick_size=0.25, max_ticks=20.0),
        slow.Rules(tick_size=0.3),
    ],
    ids=str,
)
def test_equals_the_slow_accounting_at_other_settings(rules: slow.Rules) -> None:
    sums = assert_equals_slow([simulated(small("all_at_once"), 4)], rules)
    assert sums.order_ms["used"] > 0


@pytest.mark.parametrize("tick_size", [0.0001, 0.01, 5.0])
def test_equals_the_slow_accounting_at_other_scales_of_price(tick_size: float) -> None:
    scenario = small("all_at_once").in_ticks_of(tick_size)
    assert_equals_slow([simulated(scenario, 5)], slow.Rules(tick_size=tick_size, block_ms=30_000))


def test_equals_the_slow_accounting_on_two_pooled_runs() -> None:
    runs = [simulated(small("all_at_once"), 6), simulated(small("ttl"), 7)]
    sums = assert_equals_slow(runs, slow.Rules(block_ms=20_000))
    assert {key[0] for key in sums.exposure_ms} == {0, 1}


# --- (b) every rule by hand --------------------------------------------------------------------
# Unless a test says otherwise: tick 1, state rows once a second from 1000 to 10000 ms at mid
# 100, one BUY at 98 (two ticks) that is placed and active at 2000.


def place(order_id: str = "a", at: int = 2000, **more: Any) -> dict[str, Any]:
    row = {"recv_ms": at, "order_id": order_id, "action": "PLACE", "side": "BUY", "price": 98.0}
    return {**row, **more}


def action(name: str, at: int, order_id: str = "a", **more: Any) -> dict[str, Any]:
    return {**place(order_id, at), "action": name, **more}


def fill(at: int, order_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"recv_ms": at, "order_id": order_id, **more}


STEADY = [(t, 100.0) for t in range(1000, 11_000, 1000)]


@dataclass
class Account:
    """Exposure in ms and events by distance, and the reconciliation."""

    ms: dict[float, int]
    events: dict[float, int]
    reconciliation: Reconciliation
    sums: slow.Sums

    @property
    def orders(self) -> dict[str, int]:
        return positive(self.reconciliation.orders)

    @property
    def fill_rows(self) -> dict[str, int]:
        return positive(self.reconciliation.fill_rows)

    @property
    def order_ms(self) -> dict[str, int]:
        return positive(self.reconciliation.order_ms)


@dataclass
class Log:
    orders: list[dict[str, Any]]
    fills: list[dict[str, Any]] = field(default_factory=list)
    state: list[tuple[int, float]] = field(default_factory=lambda: STEADY)

    @property
    def frames(self) -> slow.Frames:
        return (
            pd.DataFrame(self.orders),
            pd.DataFrame(
                self.fills or None, columns=None if self.fills else ["recv_ms", "order_id"]
            ),
            pd.DataFrame(self.state, columns=["recv_ms", "mid"]),
        )


def account(*logs: Log, **settings_: Any) -> Account:
    """Account for hand-made logs, by both implementations."""
    rules = slow.Rules(**settings_)
    frames = [log.frames for log in logs]
    sums = assert_equals_slow(frames, rules)
    exposure = measure(frames, rules)
    cells = exposure.cells(selection_of(rules))
    ms: Counter[float] = Counter()
    events: Counter[float] = Counter()
    for delta, t, n in zip(cells.delta, cells.exposure_ms, cells.events, strict=True):
        ms[float(delta)] += int(t)
        events[float(delta)] += int(n)
    found = exposure.reconciliation(selection_of(rules))
    return Account(positive(ms), positive(events), found, sums)


def test_an_order_that_nothing_ends_rests_to_the_end_of_the_run() -> None:
    got = account(Log([place()]))
    assert got.ms == {2.0: 8000}
    assert got.orders == {"accepted": 1, "ended by end of run": 1}


@pytest.mark.parametrize("last", ["orders", "fills", "state"])
def test_the_run_ends_with_the_last_row_of_any_file(last: str) -> None:
    log = Log([place()], [fill(3000, "other")])
    if last == "orders":
        log.orders.append(action("SKIP", 11_500, "other"))
    elif last == "fills":
        log.fills.append(fill(11_500, "other"))
    else:
        log.state = [*STEADY, (11_500, 100.0)]
    assert account(log).ms == {2.0: 9500}


def test_it_starts_when_it_becomes_active_else_when_it_is_placed() -> None:
    orders = [place("a", active_recv_ms=2050.0), place("b", active_recv_ms=np.nan)]
    assert account(Log(orders)).ms == {2.0: 7950 + 8000}


def test_distance_is_measured_along_the_mid_path() -> None:
    # 98 under 100 for 2 s, under 101.5 for 3 s, under 99 for 3 s
    state = [(1000, 100.0), (4000, 101.5), (7000, 99.0), (10_000, 99.0)]
    assert account(Log([place()], state=state)).ms == {2.0: 2000, 3.5: 3000, 1.0: 3000}


def test_the_cancels_effect_ends_it_and_not_the_later_ack_row() -> None:
    req = action("CANCEL_REQ", 5000, cancel_effective_ms=5025.0)
    got = account(Log([place(), req, action("CANCEL_ACK", 5100)]))
    assert got.ms == {2.0: 3025}
    assert got.orders == {"accepted": 1, "ended by cancel": 1}


def test_the_ack_row_ends_it_where_no_cancel_has_an_effective_time() -> None:
    # another order's effective time is no reason to ignore this order's ACK
    other = [place("b"), action("CANCEL_REQ", 3000, "b", cancel_effective_ms=3100.0)]
    got = account(Log([place(), action("CANCEL_REQ", 5000), action("CANCEL_ACK", 5100), *other]))
    assert got.ms == {2.0: 3100 + 1100}
    assert got.orders["ended by cancel"] == 2


def test_of_several_cancel_effects_the_earliest_counts() -> None:
    effects = [6025.0, 5025.0, 7025.0]
    req = [action("CANCEL_REQ", 5000 + i, cancel_effective_ms=t) for i, t in enumerate(effects)]
    assert account(Log([place(), *req])).ms == {2.0: 3025}


def test_an_expiry_time_ends_it_and_not_the_later_expire_row() -> None:
    got = account(Log([place(expire_recv_ms=4000.0), action("EXPIRE", 4100)]))
    assert got.ms == {2.0: 2000}
    assert got.orders == {"accepted": 1, "ended by expiry": 1}


def test_the_expire_row_ends_it_where_it_has_no_expiry_time() -> None:
    other = place("b", expire_recv_ms=3000.0)
    assert account(Log([place(), action("EXPIRE", 4100), other])).ms == {2.0: 2100 + 1000}


@pytest.mark.parametrize(
    ("cancel", "expire", "first", "end", "cause"),
    [
        (4000, 5000, 6000, 4000, "cancel"),
        (6000, 4000, 5000, 4000, "expiry"),
        (6000, 5000, 4000, 4000, "first fill"),
        (20_000, 30_000, None, 10_000, "end of run"),
    ],
)
def test_the_earliest_end_counts(
    cancel: int, expire: int, first: int | None, end: int, cause: str
) -> None:
    orders = [
        place(expire_recv_ms=float(expire)),
        action("CANCEL_REQ", 3000, cancel_effective_ms=float(cancel)),
    ]
    got = account(Log(orders, [] if first is None else [fill(first)]))
    assert got.ms == {2.0: end - 2000}
    assert got.orders == {"accepted": 1, f"ended by {cause}": 1}


def test_rejected_placements_have_no_interval() -> None:
    got = account(
        Log([place("a", status="OPEN"), place("b", status="REJECTED")], [fill(4000, "b")])
    )
    assert got.ms == {2.0: 8000}
    assert got.events == {}
    assert got.orders["rejected (no interval)"] == 1
    assert got.fill_rows == {"of a rejected order": 1}


def test_an_order_that_ended_before_it_was_active_is_empty_and_counted() -> None:
    orders = [
        place("a", active_recv_ms=2050.0),
        action("CANCEL_REQ", 2000, "a", cancel_effective_ms=2025.0),
        place("b"),
    ]
    got = account(Log(orders))
    assert got.ms == {2.0: 8000}
    assert got.orders["ended before they were active"] == 1


@pytest.mark.parametrize("how", ["cancel", "expiry", "end of run"])
def test_a_first_fill_in_exactly_the_last_ms_counts(how: str) -> None:
    end = {"cancel": 5025, "expiry": 5000, "end of run": 10_000}[how]
    orders = [place()]
    if how == "cancel":
        orders.append(action("CANCEL_REQ", 5000, cancel_effective_ms=5025.0))
    if how == "expiry":
        orders = [place(expire_recv_ms=5000.0)]
    got = account(Log(orders, [fill(end)]))
    assert got.events == {2.0: 1}
    assert got.ms == {2.0: end - 2000}
    assert got.orders == {"accepted": 1, "ended by first fill": 1}


def test_a_first_fill_one_ms_after_the_end_is_set_aside_and_the_exposure_stays() -> None:
    req = action("CANCEL_REQ", 5000, cancel_effective_ms=5025.0)
    got = account(Log([place(), req], [fill(5026), fill(5026), fill(6000)]))
    assert got.events == {}
    assert got.ms == {2.0: 3025}
    assert got.orders == {"accepted": 1, "ended by cancel": 1}
    assert got.fill_rows == {"after the order's end": 3}


def test_a_first_fill_before_the_order_was_active_leaves_neither_exposure_nor_event() -> None:
    got = account(Log([place(active_recv_ms=2050.0)], [fill(2049), fill(3000)]))
    assert got.ms == {}
    assert got.events == {}
    assert got.fill_rows == {"before the order was active": 2}


def test_a_fill_in_the_ms_it_became_active_is_an_event_without_exposure() -> None:
    got = account(Log([place("a"), place("b", price=95.0)], [fill(2000)]))
    assert got.ms == {5.0: 8000}
    assert got.events == {2.0: 1}


def test_a_fill_saw_the_state_row_strictly_before_it() -> None:
    # the row of 4000 is written after that tick's fills: the fill saw 100, not 99
    state = [(1000, 100.0), (4000, 99.0), (10_000, 99.0)]
    seen_old = account(Log([place()], [fill(4000)], state))
    assert seen_old.events == {2.0: 1}
    assert seen_old.ms == {2.0: 2000}
    seen_new = account(Log([place()], [fill(4001)], state))
    assert seen_new.events == {1.0: 1}
    assert seen_new.ms == {2.0: 2000, 1.0: 1}


def test_of_state_rows_that_share_a_ms_the_last_in_the_file_counts() -> None:
    state = [(1000, 90.0), (1000, 100.0), (6000, 103.0), (6000, 101.0), (10_000, 101.0)]
    assert account(Log([place()], state=state)).ms == {2.0: 4000, 3.0: 4000}


def test_time_more_than_the_gap_after_a_state_row_is_an_outage() -> None:
    # rows at 1000 and 9000: known to 6000, silent for 3 s, known again
    state = [(1000, 100.0), (9000, 100.0), (10_000, 100.0)]
    got = account(Log([place()], state=state))
    assert got.ms == {2.0: 4000 + 1000}
    assert got.order_ms["outage (mid older than MAX_STATE_GAP_MS)"] == 3000


def test_a_gap_of_exactly_the_maximum_is_no_outage() -> None:
    state = [(1000, 100.0), (6000, 100.0), (10_000, 100.0)]
    assert account(Log([place()], state=state)).order_ms == {"used": 8000}


def test_there_is_an_outage_after_the_last_state_row_too() -> None:
    log = Log([place(), action("SKIP", 18_000, "x")])  # last state row 10000, run ends 18000
    got = account(log)
    assert got.ms == {2.0: 8000 + 5000}
    assert got.order_ms["outage (mid older than MAX_STATE_GAP_MS)"] == 3000


@pytest.mark.parametrize(("time", "events", "ms"), [(6000, 1, 4000), (6001, 0, 4000)])
def test_a_fill_in_an_outage_ends_its_order_but_is_no_event(
    time: int, events: int, ms: int
) -> None:
    # known to 6000; without the fill the order would have rested another 1000 ms from 9000
    state = [(1000, 100.0), (9000, 100.0), (10_000, 100.0)]
    got = account(Log([place()], [fill(time)], state))
    assert got.ms == {2.0: ms}
    assert sum(got.events.values()) == events
    assert got.orders == {"accepted": 1, "ended by first fill": 1}
    assert got.fill_rows == ({"event": 1} if events else {"first fill in an outage": 1})


def test_a_fill_in_the_ms_of_the_row_that_ends_an_outage_is_no_event() -> None:
    # that row is written after the fill, which saw a mid of 8 s ago
    state = [(1000, 100.0), (9000, 100.0), (10_000, 100.0)]
    assert account(Log([place()], [fill(9000)], state)).events == {}
    assert account(Log([place()], [fill(9001)], state)).events == {2.0: 1}


def test_time_before_the_first_state_row_is_no_exposure() -> None:
    log = Log([place("a", at=400), place("b", at=300)], [fill(1000, "a"), fill(1001, "b")])
    got = account(log)
    assert got.ms == {2.0: 1}
    assert got.order_ms["before the first state row"] == 600 + 700
    assert got.events == {2.0: 1}
    assert got.fill_rows == {"event": 1, "first fill before the first state row": 1}


@pytest.mark.parametrize(
    ("price", "mid", "tick", "delta"),
    [
        (0.3, 0.35, 0.01, 5.0),  # (0.35 - 0.3)/0.01 = 4.999999999999999
        (95.000001, 100.0, 1.0, 4.999999),
        (95.0000004, 100.0, 1.0, 5.0),
        (95.0000006, 100.0, 1.0, 4.999999),
        (97.75, 100.0, 1.0, 2.25),
    ],
)
def test_distances_are_rounded_to_a_millionth_of_a_tick_and_never_floored(
    price: float, mid: float, tick: float, delta: float
) -> None:
    log = Log([place(price=price)], [fill(4000)], [(t, mid) for t, _ in STEADY])
    got = account(log, tick_size=tick)
    assert got.ms == {delta: 2000}
    assert got.events == {delta: 1}


def test_a_quote_that_mid_has_run_through_counts_by_the_convention() -> None:
    # BUY at 98: mid 97 is one tick through; SELL at 103: mid 105 is two ticks through
    state = [(1000, 97.0), (6000, 105.0), (10_000, 105.0)]
    orders = [place(price=98.0), place("b", price=103.0, side="SELL")]
    assert account(Log(orders, state=state)).ms == {1.0: 4000, 7.0: 4000, 6.0: 4000, 2.0: 4000}
    signed = account(Log(orders, state=state), signed=True, min_ticks=-50.0)
    assert signed.ms == {-1.0: 4000, 7.0: 4000, 6.0: 4000, -2.0: 4000}
    passive = account(Log(orders, state=state), signed=True)
    assert passive.ms == {7.0: 4000, 6.0: 4000}
    frames = [Log(orders, state=state).frames]
    by_property = measure(frames, slow.Rules()).cells(Selection().passive)
    assert sorted(by_property.delta) == [6.0, 7.0]


def test_the_range_selects_segments_and_events_and_not_whole_orders() -> None:
    # two ticks for 2 s, five for 3 s, one for 1 s, then filled
    state = [(1000, 100.0), (4000, 103.0), (7000, 99.0), (10_000, 99.0)]
    log = Log([place()], [fill(8000)], state)
    got = account(log, min_ticks=2.0, max_ticks=5.0)
    assert got.ms == {2.0: 2000, 5.0: 3000}  # both ends belong to the range
    assert got.events == {}
    assert got.order_ms["outside MIN_DELTA_TICKS..MAX_DELTA_TICKS"] == 1000
    assert got.fill_rows == {"first fill outside the range": 1}
    near = account(log, max_ticks=1.0)
    assert near.ms == {1.0: 1000}
    assert near.events == {1.0: 1}


def test_identical_place_rows_count_once_with_a_warning() -> None:
    got = account(Log([place(), place()], [fill(5000)]))
    assert got.ms == {2.0: 3000}
    assert got.events == {2.0: 1}
    assert len(got.reconciliation.warnings) == 1


def test_no_warning_without_reason() -> None:
    assert account(Log([place(), place("b")], [fill(5000)])).reconciliation.warnings == ()


@pytest.mark.parametrize(
    "other",
    [
        {"price": 97.0},
        {"side": "SELL"},
        {"recv_ms": 2500},
        {"active_recv_ms": 2600.0},
        {"qty": 2.0},
    ],
    ids=lambda other: next(iter(other)),
)
def test_different_place_rows_under_one_id_are_bad_input(other: dict[str, Any]) -> None:
    terms = {"qty": 1.0, "active_recv_ms": 2050.0}
    log = Log([place(**terms), {**place(**terms), **other}])
    with pytest.raises(InputError, match="order a"):
        measure([log.frames], slow.Rules())


def test_a_new_price_ends_one_resting_interval_and_starts_another() -> None:
    amend = action("AMEND", 4000, price=97.0, active_recv_ms=4500.0)
    got = account(Log([place(active_recv_ms=np.nan), amend], [fill(9000), fill(9500)]))
    assert got.ms == {2.0: 2500, 3.0: 4500}
    assert got.events == {3.0: 1}
    assert got.orders == {
        "accepted": 1,
        "ended by first fill": 1,
        "ended by a new price": 1,
    }
    assert got.fill_rows == {"event": 1, "later partial fill": 1}


def test_a_new_size_alone_goes_on() -> None:
    more = action("AMEND", 4000, qty=3.0)
    log = Log([place(qty=1.0), more], [fill(9000, qty=1.5)])
    got = account(log)
    assert (got.ms, got.events) == ({2.0: 7000}, {2.0: 1})
    assert "ended by a new price" not in got.orders
    intervals = measure([log.frames], slow.Rules()).intervals[0]
    assert (intervals.qty.tolist(), intervals.fill_qty.tolist()) == ([3.0], [1.5])


def test_the_first_fill_ends_all_terms_and_a_cancel_does_too() -> None:
    amend = action("AMEND", 4000, price=97.0)
    filled_before = account(Log([place(), amend], [fill(3000, price=98.0)]))
    assert (filled_before.ms, filled_before.events) == ({2.0: 1000}, {2.0: 1})
    cancel = action("CANCEL_REQ", 5000, price=97.0, cancel_effective_ms=6000.0)
    assert account(Log([place(), amend, cancel])).ms == {2.0: 2000, 3.0: 2000}


@pytest.mark.parametrize(("price", "delta"), [(98.0, 2.0), (97.0, 3.0)])
def test_of_a_fill_in_the_ms_of_the_new_price_its_own_price_tells(
    price: float, delta: float
) -> None:
    orders = [place(), action("AMEND", 4000, price=97.0)]
    assert account(Log(orders, [fill(4000, price=price)])).events == {delta: 1}


def test_a_rejected_amendment_changes_nothing() -> None:
    amend = action("AMEND", 4000, price=97.0, status="REJECTED")
    assert account(Log([place(status="OPEN"), amend], [fill(9000)])).events == {2.0: 1}


def test_an_order_that_is_cancelled_and_placed_again_at_once_goes_on() -> None:
    cancel = action("CANCEL_REQ", 4000, cancel_effective_ms=4500.0)
    again = place(at=4000, price=97.0, active_recv_ms=4500.0)
    end = action("CANCEL_REQ", 7000, price=97.0, cancel_effective_ms=8000.0)
    log = Log([place(active_recv_ms=2000.0), cancel, again, end])
    cells = measure([log.frames], slow.Rules()).cells(Selection())
    assert dict(zip(cells.delta, cells.exposure_ms, strict=True)) == {2.0: 2500, 3.0: 3500}
    filled = Log(log.orders, [fill(7500)])
    cells = measure([filled.frames], slow.Rules()).cells(Selection())
    assert dict(zip(cells.delta, cells.events, strict=True)) == {2.0: 0, 3.0: 1}


@pytest.mark.parametrize("column", [{"side": "SELL"}, {"recv_ms": 7000}])
def test_an_order_placed_again_after_it_ended_or_on_the_other_side_is_another(
    column: dict[str, Any],
) -> None:
    cancel = action("CANCEL_ACK", 4000)
    again = {**place(at=4000, price=97.0), **column}
    with pytest.raises(InputError, match="order a is placed twice"):
        measure([Log([place(), cancel, again]).frames], slow.Rules())


def test_unknown_actions_are_ignored_and_counted() -> None:
    extra = [action("SKIP", 3000, "x"), action("SKIP", 3100, "x"), action("PING", 3200)]
    got = account(Log([place(), *extra], [fill(5000)]))
    assert got.ms == {2.0: 3000}
    assert dict(got.reconciliation.ignored_actions) == {"SKIP": 2, "PING": 1}


def test_the_backtesters_own_actions_are_not_called_unknown() -> None:
    names = ["CANCEL_REQ", "CANCEL_ACK", "FILL", "CLOSE_FILLED", "EXPIRE"]
    # The fill is in both files: an order file that alone knows of it would repair the other.
    got = account(Log([place(), *[action(name, 9000) for name in names]], [fill(9000)]))
    assert dict(got.reconciliation.ignored_actions) == {}


def test_many_fill_rows_of_one_order_are_one_event_and_none_is_dropped() -> None:
    prints = [fill(5000, qty=0.5)] * 3 + [fill(5001, qty=0.25), fill(7000, qty=0.25)]
    log = Log([place(qty=2.0)], prints)
    got = account(log)
    assert got.events == {2.0: 1}
    assert got.ms == {2.0: 3000}
    assert got.fill_rows == {"event": 1, "same ms as the first fill": 2, "later partial fill": 2}
    exposure = measure([log.frames], slow.Rules())
    assert exposure.cells(Selection()).qty.tolist()[-1] == 1.5  # the first fill's ms
    assert exposure.intervals[0].filled_qty.tolist() == [2.0]  # all rows


def test_the_first_fill_is_the_earliest_row_wherever_it_stands_in_the_file() -> None:
    assert account(Log([place()], [fill(7000), fill(5000), fill(6000)])).ms == {2.0: 3000}


def test_fills_of_an_unknown_order_are_set_aside_under_that_name() -> None:
    got = account(Log([place()], [fill(5000, "ghost")]))
    assert got.ms == {2.0: 8000}
    assert got.fill_rows == {"of an unknown order": 1}


def test_segments_are_split_at_blocks_that_start_with_the_first_state_row() -> None:
    # blocks of 3 s from 1000: [1000, 4000), [4000, 7000), [7000, 10000)
    sums = account(Log([place()], [fill(8000)]), block_ms=3000).sums
    assert sums.exposure_ms == {
        (0, 0, "BUY", 2_000_000, 2): 2000,
        (0, 1, "BUY", 2_000_000, 2): 3000,
        (0, 2, "BUY", 2_000_000, 2): 1000,
    }
    assert sums.events == {(0, 2, "BUY", 2_000_000, 2): 1}


def test_blocks_never_span_runs_and_each_run_keeps_its_own_clock_and_end() -> None:
    late = [(t + 500, mid) for t, mid in STEADY]
    first = Log([place()], [fill(3000)])
    second = Log([place(at=9000)], state=late)  # same id, another order; ends at 10500
    got = account(first, second, block_ms=60_000)
    assert got.sums.exposure_ms == {
        (0, 0, "BUY", 2_000_000, 2): 1000,
        (1, 0, "BUY", 2_000_000, 2): 1500,
    }
    cells = measure([first.frames, second.frames], slow.Rules()).cells(Selection())
    assert len(set(cells.block.tolist())) == 2


def test_buys_and_sells_are_kept_apart() -> None:
    orders = [place(), place("b", side="SELL", price=102.0)]
    assert account(Log(orders)).sums.exposure_ms == {
        (0, 0, "BUY", 2_000_000, 2): 8000,
        (0, 0, "SELL", 2_000_000, 2): 8000,
    }


@pytest.mark.parametrize("empty", [False, True])
def test_optional_columns_may_be_absent_or_all_empty(empty: bool) -> None:
    names = ["status", "qty", "active_recv_ms", "expire_recv_ms", "cancel_effective_ms"]
    more = dict.fromkeys(names, np.nan) if empty else {}
    orders = [place(**more), place("b", **more), action("CANCEL_ACK", 6000, "b", **more)]
    fills = [fill(5000, **(dict.fromkeys(["qty", "reason"], np.nan) if empty else {}))]
    got = account(Log(orders, fills))
    assert got.ms == {2.0: 3000 + 4000}
    assert got.events == {2.0: 1}


def test_no_fills_at_all_leaves_the_exposure() -> None:
    got = account(Log([place()], []))
    assert got.ms == {2.0: 8000}
    assert got.events == {}


def test_the_mean_state_gap_is_exposure_over_the_rows_inside_it() -> None:
    # [2500, 4500) holds the rows of 3000 and 4000: 2000 ms over 2 rows
    log = Log([place(at=2500, expire_recv_ms=4500.0)])
    assert measure([log.frames], slow.Rules()).mean_state_gap_ms(Selection()) == 1000.0


# --- trials of a per-tick fill model -------------------------------------------------------------


def trials(log: Log) -> tuple[list[float], list[bool]]:
    exposure = measure([log.frames], slow.Rules())
    rows = joined(list(rows_at_risk(exposure, drawn=True)))
    return rows["delta"].tolist(), rows["event"].tolist()


def test_the_trials_are_the_state_rows_from_start_to_before_the_end() -> None:
    state = [(1000, 100.0), (2000, 101.0), (3000, 102.0), (4000, 103.0), (5000, 100.0)]
    # rests over [2000, 4000): the rows of 2000 and 3000, each at its own mid
    assert trials(Log([place(expire_recv_ms=4000.0)], state=state)) == ([3.0, 4.0], [False, False])


def test_the_last_trial_of_a_filled_order_is_the_row_of_its_fill() -> None:
    state = [(1000, 100.0), (2000, 101.0), (3000, 102.0), (4000, 103.0), (5000, 100.0)]
    assert trials(Log([place()], [fill(3000)], state)) == ([3.0, 4.0], [False, True])


# --- (c) laws ------------------------------------------------------------------------------------
# Small logs on a grid of half ticks around 100, times of a few ms: an outage is a gap above 6 ms
# and a block lasts 10 ms, so that edges meet often.

LAW = slow.Rules(max_gap_ms=6, block_ms=10, max_ticks=4.0)
laws = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def small_logs(draw: st.DrawFn) -> slow.Frames:
    gaps = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 6, 7, 9]), min_size=2, max_size=14))
    time, state = 1000, []
    for gap in gaps:
        time += gap
        state.append((time, 100.0 + draw(st.integers(-6, 6)) / 2))
    moment = st.sampled_from([1, 0, 2, 4, 7, 11, 16, -2])
    later = st.sampled_from([3, 1, 2, 5, 8, 12, 0, -1])
    orders, fills = [], []
    for number in range(draw(st.integers(1, 6))):
        order_id, at = f"o{number}", 1000 + draw(moment)
        terms: dict[str, Any] = {
            "side": draw(st.sampled_from(["BUY", "SELL"])),
            "price": 100.0 + draw(st.integers(-6, 6)) / 2,
        }
        orders.append(
            place(
                order_id,
                at,
                **terms,
                status=draw(st.sampled_from(["OPEN"] * 7 + ["REJECTED"])),
                active_recv_ms=at + draw(st.sampled_from([np.nan, 0.0, 2.0])),
                expire_recv_ms=at + draw(st.sampled_from([np.nan, np.nan, 4.0, 9.0])),
            )
        )
        names = st.sampled_from(["CANCEL_REQ", "CANCEL_ACK", "EXPIRE", "SKIP"])
        for name in sorted(draw(st.sets(names, max_size=2))):
            effect = draw(st.sampled_from([np.nan, 0.0, 3.0])) if name == "CANCEL_REQ" else np.nan
            row_at = at + draw(later)
            more = {**terms, "cancel_effective_ms": row_at + effect}
            orders.append(action(name, row_at, order_id, **more))
        for wait in sorted(draw(st.sets(st.sampled_from([1, 3, 6]), max_size=2))):
            more = {"price": 100.0 + draw(st.integers(-6, 6)) / 2}
            more["active_recv_ms"] = at + wait + draw(st.sampled_from([np.nan, 0.0, 2.0]))
            orders.append(action("AMEND", at + wait, order_id, **{**terms, **more}))
        for wait in draw(st.lists(later, max_size=3)):
            fills.append(fill(at + wait, order_id, qty=float(draw(st.integers(1, 3)))))
    return Log(orders, fills, state).frames


def table(frames: slow.Frames, rules: slow.Rules = LAW) -> pd.DataFrame:
    """The cells of one run as a table."""
    return pd.DataFrame(vars(measure([frames], rules).cells(selection_of(rules))))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(small_logs(), st.booleans())
def test_equals_the_slow_accounting_on_any_small_log(frames: slow.Frames, signed: bool) -> None:
    rules = slow.Rules(max_gap_ms=6, block_ms=10, min_ticks=0.5, max_ticks=3.5, signed=signed)
    assert_equals_slow([frames], rules)


@laws
@given(small_logs(), st.data())
def test_state_rows_that_change_nothing_change_nothing(
    frames: slow.Frames, data: st.DataObject
) -> None:
    orders, fills, state = frames
    more = []
    times, mids = state["recv_ms"].tolist(), state["mid"].tolist()
    for i in range(len(times) - 1):
        if 1 < times[i + 1] - times[i] <= LAW.max_gap_ms:
            extra = data.draw(st.lists(st.integers(times[i], times[i + 1] - 1), max_size=2))
            more += [(t, mids[i]) for t in sorted(extra)]
    split = pd.concat([state, pd.DataFrame(more, columns=["recv_ms", "mid"])]).sort_values(
        "recv_ms", kind="stable", ignore_index=True
    )
    split = split.astype({"recv_ms": "int64", "mid": "float64"})
    pd.testing.assert_frame_equal(table((orders, fills, split)), table(frames))


@laws
@given(small_logs(), st.integers(-900, 10**12))
def test_shifting_all_clocks_changes_nothing(frames: slow.Frames, shift: int) -> None:
    shift = shift if shift < 4e8 else 1_700_000_000_000  # keep to what reads as milliseconds
    moved = []
    for frame in frames:
        times = [name for name in frame.columns if name.endswith("_ms")]
        moved.append(frame.assign(**{name: frame[name] + shift for name in times}))
    pd.testing.assert_frame_equal(table(tuple(moved)), table(frames))


@laws
@given(small_logs(), st.permutations([f"o{i}" for i in range(6)]))
def test_the_names_of_orders_do_not_matter(frames: slow.Frames, names: list[str]) -> None:
    new = {f"o{i}": name for i, name in enumerate(names)}
    orders, fills, state = frames
    renamed = tuple(t.assign(order_id=t["order_id"].map(new)) for t in (orders, fills))
    pd.testing.assert_frame_equal(table((*renamed, state)), table(frames))


@laws
@given(small_logs(), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_in_orders_and_fills_does_not_matter(
    frames: slow.Frames, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    orders, fills, state = frames
    mixed = [t.iloc[rng.permutation(len(t))].reset_index(drop=True) for t in (orders, fills)]
    pd.testing.assert_frame_equal(table((mixed[0], mixed[1], state)), table(frames))


@laws
@given(small_logs())
def test_mirroring_prices_and_sides_swaps_the_sides_and_nothing_else(frames: slow.Frames) -> None:
    rules = slow.Rules(max_gap_ms=6, block_ms=10, min_ticks=-4.0, max_ticks=4.0, signed=True)
    orders, fills, state = frames
    other = {"BUY": "SELL", "SELL": "BUY"}
    mirrored = orders.assign(price=200.0 - orders["price"], side=orders["side"].map(other))
    swapped = table((mirrored, fills, state.assign(mid=200.0 - state["mid"])), rules)
    swapped["side"] = -swapped["side"]
    keys = ["block", "side", "level", "delta"]
    swapped = swapped.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(swapped, table(frames, rules))


@laws
@given(small_logs(), st.integers(-20, 20))
def test_scaling_prices_and_tick_together_changes_nothing(frames: slow.Frames, power: int) -> None:
    scale = 2.0**power
    orders, fills, state = frames
    scaled = (
        orders.assign(price=orders["price"] * scale),
        fills,
        state.assign(mid=state["mid"] * scale),
    )
    rules = slow.Rules(tick_size=scale, max_gap_ms=6, block_ms=10, max_ticks=4.0)
    pd.testing.assert_frame_equal(table(scaled, rules), table(frames))


@laws
@given(small_logs(), small_logs())
def test_every_order_ms_and_every_fill_row_has_one_name(
    first: slow.Frames, second: slow.Frames
) -> None:
    exposure = measure([first, second], LAW)
    found = exposure.reconciliation(selection_of(LAW))
    rested = sum(int((i.end_ms - i.start_ms).sum()) for i in exposure.intervals)
    assert sum(found.order_ms.values()) == rested == int(exposure.segments.duration_ms.sum())
    assert sum(found.fill_rows.values()) == len(first[1]) + len(second[1])
    n_placed = sum((orders["action"] == "PLACE").sum() for orders, _, _ in (first, second))
    assert found.orders["accepted"] + found.orders["rejected (no interval)"] == n_placed
    ended = sum(n for name, n in found.orders.items() if name.startswith("ended by"))
    assert ended == sum(len(i.order_id) for i in exposure.intervals)
    amended = sum(len(i.goes_on) for i in exposure.intervals)
    assert ended - amended == found.orders["accepted"]
    assert found.exposure_s == exposure.cells(selection_of(LAW)).exposure_ms.sum() / 1000.0
    assert min(found.order_ms.values()) >= 0
    assert min(found.fill_rows.values()) >= 0


@laws
@given(small_logs(), st.integers(1, 30))
def test_the_length_of_the_blocks_moves_no_total(frames: slow.Frames, block_ms: int) -> None:
    def totals(rules: slow.Rules) -> pd.DataFrame:
        sums = table(frames, rules).groupby(["side", "delta"])
        return sums[["exposure_ms", "events", "qty"]].sum()

    other = slow.Rules(max_gap_ms=6, block_ms=block_ms, max_ticks=4.0)
    pd.testing.assert_frame_equal(totals(other), totals(LAW))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_size_of_the_chunks_changes_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log = simulate(Scenario(A=1.0, k=0.4, duration_s=30.0, ttl_ms=5_000), seed=3)
    selection = Selection("absolute", 0.0, 50.0)
    frames = [(log.orders, log.fills, log.state)]
    whole = measure(frames, slow.Rules())
    monkeypatch.setattr("mm.exposure.segments.CHUNK_SEGMENTS", size)
    chunked = measure(frames, slow.Rules())
    for name in ("block", "side", "delta", "exposure_ms", "events", "qty"):
        one, other = (getattr(e.cells(selection), name) for e in (whole, chunked))
        np.testing.assert_array_equal(one, other, err_msg=name)
    for drawn in (True, False):
        one, other = (joined(list(rows_at_risk(e, drawn=drawn))) for e in (whole, chunked))
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert chunked.mean_state_gap_ms(selection) == whole.mean_state_gap_ms(selection)
    assert chunked.reconciliation(selection) == whole.reconciliation(selection)
    one, other = (empirical_intensity(e, selection).n_orders for e in (whole, chunked))
    np.testing.assert_array_equal(one, other)


def test_a_place_is_its_side_level_and_distance() -> None:
    far = 8_000_000 * 1_000_000
    table = list(product([-1, 1], [-1, 0, 7, FARTHEST], [-far, -1, 0, 1_500_000, far]))
    side, level, parts = np.array(table).T
    places = Places.of(side.astype(np.int8), level, parts)
    found = zip(places.side.tolist(), places.level.tolist(), places.parts.tolist(), strict=True)
    assert list(found) == table
    assert (np.diff(places.code) > 0).all()
