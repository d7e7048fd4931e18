"""What the verdict says of logs whose fault is known, through the whole calibration."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mm
from mm.calibration import Calibration
from mm.diagnostics import tables
from mm.logs.load import log_from_frames
from mm.results.outcome import outcome_of
from mm.simulate import Burst, Scenario, SimulatedLog, simulate

BASE = Scenario(duration_s=600.0)


def calibrated(log: SimulatedLog, **settings: object) -> Calibration:
    return mm.calibrate(log.orders, log.fills, log.state, tick_size=1.0, **settings)


def codes(result: Calibration) -> set[str]:
    return {finding.code for finding in result.verdict.reasons}


@pytest.fixture(scope="module")
def clean() -> SimulatedLog:
    return simulate(BASE, 11)


def test_a_clean_log_is_ok_and_every_finding_is_a_note(clean: SimulatedLog) -> None:
    result = calibrated(clean)
    assert result.verdict.status == "ok"
    assert result.params is not None
    assert result.params.quality == "ok"
    assert result.params.reasons == ()


def test_bursts_are_warned_of() -> None:
    log = simulate(replace(BASE, A=0.5, duration_s=1800.0, burst=Burst(8.0, 0.1, 15.0)), 5)
    result = calibrated(log)
    assert "bursts" in codes(result)
    assert result.params is not None
    assert result.params.quality == "warn"


def test_a_power_law_is_warned_of() -> None:
    scenario = replace(BASE, A=0.68, shape="power", power_p=1.5, power_delta0=1.0)
    assert codes(calibrated(simulate(scenario, 5))) & {"shape", "power_law"}


def test_sides_that_differ_are_warned_of() -> None:
    log = simulate(replace(BASE, A_multiplier=(1.0, 0.5)), 5)
    result = calibrated(log)
    assert "sides" in codes(result)
    assert "fills per hour at" in tables.checks(result.diagnostics)._repr_html_()


def test_sides_are_shown_apart_only_where_their_intervals_are() -> None:
    found = calibrated(simulate(BASE, 5)).diagnostics
    assert found is not None
    assert not found.sides.apart
    assert "fills per hour at" not in tables.checks(found)._repr_html_()


def test_big_orders_give_the_same_fit_and_are_told_apart_by_fill_fraction() -> None:
    small = simulate(replace(BASE, partial_share=0.0), 5)
    fills = small.fills.copy()
    fills["qty"] = fills["qty"] * 0.2
    whole = calibrated(small)
    part = mm.calibrate(small.orders, fills, small.state, tick_size=1.0)
    assert whole.params is not None
    assert part.params is not None
    assert (whole.params.A, whole.params.k) == (part.params.A, part.params.k)
    assert whole.params.fill_fraction == pytest.approx(1.0)
    assert part.params.fill_fraction == pytest.approx(0.2)
    assert part.verdict.status == whole.verdict.status == "ok"
    (note,) = (f for f in part.verdict.notes if f.code == "fill_fraction")
    assert "Scale the consumer's order size by 0.20" in str(note)


def test_a_dt_that_is_not_the_row_gap_is_used_and_warned_of(clean: SimulatedLog) -> None:
    result = calibrated(clean, POISSON_DT_MS=300)
    assert result.params is not None
    assert result.params.dt_ms == 300
    assert {"dt_ms", "level"} <= codes(result)
    (finding,) = (f for f in result.verdict.reasons if f.code == "dt_ms")
    assert "3.0" in finding.what


def test_fills_shuffled_among_orders_never_pass(clean: SimulatedLog) -> None:
    fills = clean.fills.copy()
    rng = np.random.default_rng(3)
    fills["recv_ms"] = rng.permutation(fills["recv_ms"].to_numpy())
    result = mm.calibrate(clean.orders, fills, clean.state, tick_size=1.0)
    assert result.verdict.status == "refused"
    assert "clocks" in codes(result)
    assert result.params is None


@pytest.mark.parametrize("table", ["orders", "fills", "state"])
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_shifted_by_an_hour_is_refused(table: str, hours: int) -> None:
    log = simulate(replace(BASE, duration_s=120.0), 11)
    tables = {"orders": log.orders, "fills": log.fills, "state": log.state}
    moved = tables[table].copy()
    for column in moved.columns:
        if column.endswith("_ms"):
            moved[column] = moved[column] + hours * 3_600_000
    result = mm.calibrate(**{**tables, table: moved}, tick_size=1.0)
    assert result.verdict.status == "refused"
    assert result.params is None


def test_an_appended_second_run_is_refused(clean: SimulatedLog) -> None:
    other = simulate(BASE, 12)
    tables = [
        pd.concat([getattr(clean, name), getattr(other, name)], ignore_index=True)
        for name in ("orders", "fills", "state")
    ]
    result = mm.calibrate(*tables, tick_size=1.0)
    assert result.verdict.status == "refused"
    assert "appended_run" in codes(result)


def test_a_ladder_that_rests_through_an_outage_is_one_run() -> None:
    time = np.concatenate([np.arange(0, 60_000, 100), np.arange(80_000, 140_000, 100)])
    state = pd.DataFrame({"recv_ms": 1_700_000_000_000 + time, "mid": 100.0})
    ladder = pd.DataFrame(
        {
            "recv_ms": state["recv_ms"].iloc[0],
            "order_id": ["a", "b", "c", "d"],
            "action": "PLACE",
            "side": ["BUY", "BUY", "SELL", "SELL"],
            "price": [99.0, 98.0, 101.0, 102.0],
        }
    )
    fills = pd.DataFrame({"recv_ms": state["recv_ms"].iloc[300], "order_id": ["a"]})
    assert log_from_frames([(ladder, fills, state)]).runs[0].appended == ()
    # a second run has its own
    again = ladder.assign(recv_ms=state["recv_ms"].iloc[600], order_id=["e", "f", "g", "h"])
    orders = pd.concat([ladder, again])
    (told,) = log_from_frames([(orders, fills, state)]).runs[0].appended
    assert "no row tells of the orders that rested before" in told


def test_one_distance_only_is_refused() -> None:
    log = simulate(replace(BASE, volatility=0.0, deltas_ticks=(3.0,)), 5)
    result = calibrated(log)
    assert result.verdict.status == "refused"
    (finding,) = (f for f in result.verdict.reasons if f.code == "no_mle")
    assert "distance" in finding.cause


def test_a_narrow_range_of_distances_leaves_k_unknown() -> None:
    scenario = replace(BASE, volatility=0.02, deltas_ticks=(3.0, 3.2), duration_s=120.0)
    result = calibrated(simulate(scenario, 5))
    assert codes(result) & {"k_unknown", "k_not_positive"}


def test_a_level_that_is_extrapolated_says_so() -> None:
    result = calibrated(simulate(replace(BASE, shape="power"), 5), MIN_DELTA_TICKS=5.0)
    (finding,) = (f for f in result.verdict.reasons if f.code == "level")
    assert "outside MIN_DELTA_TICKS..MAX_DELTA_TICKS" in finding.cause


def test_fills_that_get_no_rarer_are_refused() -> None:
    log = simulate(replace(BASE, A=0.3, k=-0.2), 5)
    result = calibrated(log)
    assert result.verdict.status == "refused"
    assert "k_not_positive" in codes(result)
    assert result.estimate.fit is not None
    assert result.estimate.fit.k < 0


def test_few_fills_are_refused_and_sparse_ones_show_firth() -> None:
    scenario = replace(BASE, A=0.006, k=0.2)
    log = simulate(scenario, 5)
    n = calibrated(log).estimate.n_events
    assert 10 <= n < 30
    result = calibrated(log)
    assert result.diagnostics is not None
    assert result.diagnostics.firth is not None
    assert "few_fills" in codes(calibrated(log, MIN_FILLS=n + 1))


def test_old_params_are_judged_in_the_same_way(clean: SimulatedLog, tmp_path: object) -> None:
    result = calibrated(clean)
    assert result.params is not None
    path = f"{tmp_path}/old.json"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(result.params.to_json())
    again = calibrated(clean, OLD_PARAMS_FILE=path)
    assert again.diagnostics is not None
    assert again.diagnostics.replay_old is not None
    assert again.diagnostics.replay_old.given == pytest.approx(
        again.diagnostics.replay.given, rel=1e-12
    )


def test_waterfall_starts_at_the_original_and_ends_at_the_params(clean: SimulatedLog) -> None:
    result = calibrated(clean)
    assert result.diagnostics is not None
    fall = result.diagnostics.waterfall
    assert fall is not None
    assert result.params is not None
    assert result.estimate.original is not None
    assert (fall.steps[0].A, fall.steps[0].k) == (
        result.estimate.original.A,
        result.estimate.original.k,
    )
    assert (fall.steps[-1].A, fall.steps[-1].k) == (result.params.A, result.params.k)
    assert fall.observed == result.diagnostics.replay.observed
    assert f"{fall.observed:,}" in fall.sentence


def test_state_rows_that_come_too_rarely_are_warned_of() -> None:
    rare = simulate(
        replace(BASE, A=0.1, state_gap_ms=12_000, mid_hold_ms=60_000, duration_s=3600.0), 5
    )
    (finding,) = (f for f in calibrated(rare).verdict.reasons if f.code == "outages")
    assert "MAX_STATE_GAP_MS = 5000" in finding.what
    assert "outages" not in codes(calibrated(rare, MAX_STATE_GAP_MS=20_000))


def test_an_outage_at_the_end_that_is_longer_than_a_block_is_no_block(clean: SimulatedLog) -> None:
    fit, same = (calibrated(clean, MAX_STATE_GAP_MS=gap).estimate.fit for gap in (5_000, 200_000))
    assert fit is not None
    assert same is not None
    assert (same.A, same.k, same.n_blocks) == (fit.A, fit.k, fit.n_blocks)


def test_an_interval_that_can_not_allow_for_bursts_says_so(clean: SimulatedLog) -> None:
    bursts = simulate(replace(BASE, A=0.5, duration_s=235.0, burst=Burst(12.0, 0.2, 40.0)), 1)
    (finding,) = (f for f in calibrated(bursts).verdict.reasons if f.code == "interval")
    assert "4 blocks" in finding.what
    short = calibrated(simulate(replace(BASE, duration_s=200.0), 3))
    assert short.verdict.status == "ok"
    assert [f.code for f in short.verdict.notes if f.code in ("interval", "dispersion")] == [
        "interval"
    ]
    assert "interval" not in {f.code for f in calibrated(clean).verdict.notes}


def test_the_level_of_the_old_notebooks_fit_names_the_fit() -> None:
    log = simulate(replace(BASE, partial_share=0.8), 4)
    found = calibrated(log, FIT_METHOD="log_linear").verdict.reasons
    (finding,) = (f for f in found if f.code == "level")
    assert "FIT_METHOD" in finding.cause


def test_no_exposure_in_range_says_where_quotes_were(clean: SimulatedLog) -> None:
    result = calibrated(clean, MIN_DELTA_TICKS=300.0, MAX_DELTA_TICKS=400.0)
    (finding,) = (f for f in result.verdict.reasons if f.code == "no_events")
    assert "quotes rested 0" in finding.what
    assert "ticks from mid, half of the time beyond 4" in finding.what


def test_a_log_without_fills_is_not_told_to_look_elsewhere_for_them() -> None:
    log = simulate(replace(BASE, A=1e-9), 1)
    for farthest in (50.0, 0.5):
        result = calibrated(log, MAX_DELTA_TICKS=farthest, MIN_DELTA_TICKS=0.25)
        (finding,) = (f for f in result.verdict.reasons if f.code == "no_events")
        assert "no order was filled" in finding.what
        assert "range" not in finding.remedy
        assert "fill_source" not in {f.code for f in result.verdict.notes}
    nowhere = calibrated(log, MIN_DELTA_TICKS=300.0, MAX_DELTA_TICKS=400.0)
    assert outcome_of(nowhere).record.dt_ms is None
    assert outcome_of(result).record.dt_ms == pytest.approx(100, rel=0.1)


def test_a_change_does_not_ask_for_the_schedule_that_is_there() -> None:
    log = simulate(replace(BASE, A=0.3, duration_s=600.0), 2)
    later = log.fills["recv_ms"] > BASE.start_ms + 300_000
    busy = log.fills[later | (np.arange(len(log.fills)) % 4 == 0)]
    state = log.state[["recv_ms", "mid"]]
    orders = log.orders[~log.orders["action"].isin(["FILL", "CLOSE_FILLED"])]
    for train, asked in ((None, True), (2.0, False)):
        found = mm.calibrate(orders, busy, state, tick_size=1.0, SCHEDULE_TRAIN_MIN=train)
        (finding,) = (f for f in found.verdict.reasons if f.code == "halves")
        assert ("SCHEDULE_TRAIN_MIN" in finding.remedy) is asked


def test_a_schedule_longer_than_the_log_is_warned_of(clean: SimulatedLog) -> None:
    (finding,) = calibrated(clean, SCHEDULE_TRAIN_MIN=60.0).verdict.reasons
    assert (finding.code, "none of its 0 windows" in finding.what) == ("schedule", True)
    assert calibrated(clean, SCHEDULE_TRAIN_MIN=3.0).verdict.status == "ok"


def test_every_code_is_listed_and_no_other(root: Path) -> None:
    page = (root / "docs" / "verdict.md").read_text(encoding="utf-8")
    listed = {code for row in page.splitlines() if row.startswith("| `")
              for code in re.findall(r"`(\w+)`", row.split("|")[1])}  # fmt: skip
    rules = (root / "mm" / "diagnostics" / "rules").glob("*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in rules)
    made = set(re.findall(r'Finding\(\s*(?:"\w+"|"\w+" if [^"]+ else "\w+"),\s*"(\w+)"', source))
    assert made <= listed
    assert listed - made == {"dt_unknown", "no_events", "no_mle"}, "these come from EstimateError"
