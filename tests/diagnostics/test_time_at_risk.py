"""Time at risk in sums and chunks, against all its segments at once: cuts, clock, diagnostics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mm.calibration import Calibration, run_steps
from mm.core.arrays import Floats, Ints
from mm.core.settings import Settings
from mm.diagnostics.corrections import cells_through_outages
from mm.diagnostics.rescaled_gaps import rescaled_time
from mm.diagnostics.stability import split, split_ms
from mm.diagnostics.time_at_risk import Risk
from mm.diagnostics.time_rescaling import Clock, rescale
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.exposure.segments import joined
from mm.exposure.trials import rows_at_risk, trial_sums
from mm.logs.load import log_from_frames
from mm.simulate import Scenario, simulate
from mm.simulate.demo import SCENARIOS

DT_MS = 100
SELECTIONS = [Selection(), Selection("absolute", 2.0, 7.0), Selection("signed", 0.0, 20.0)]


def logs() -> list[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """Two runs drawn row by row, on one clock, with outages, fills that have no state row, and
    rows that share a ms."""
    scenario = replace(SCENARIOS["per_tick"][1], duration_s=200.0, outages=((50.0, 12.0),))
    out = []
    for seed in (3, 4):
        log = simulate(scenario, seed)
        state = log.state[["recv_ms", "mid"]].drop(index=log.state.index[100::37])
        again = state.iloc[20::50].assign(mid=state["mid"] + 1.0)
        state = pd.concat([again, state]).sort_values("recv_ms", kind="stable", ignore_index=True)
        out.append((log.orders, log.fills, state))
    return out


@pytest.fixture(scope="module")
def exposure() -> Exposure:
    first, second = log_from_frames(logs()).runs
    # Two malformed rows: one in the ms of a sound one.
    row_ms = first.state["recv_ms"].to_numpy()
    runs = [replace(first, blind_ms=np.array([row_ms[300], row_ms[700] + 7])), second]
    return measure_exposure(runs, tick_size=1.0, max_state_gap_ms=5000, block_s=20.0)


@pytest.fixture(params=[None, DT_MS], ids=["continuous", "drawn"])
def dt_ms(request: pytest.FixtureRequest) -> int | None:
    found: int | None = request.param
    return found


def risk_of(exposure: Exposure, selection: Selection, dt_ms: int | None) -> Risk:
    if dt_ms is None:
        return Risk.continuous(exposure, selection)
    return Risk.drawn(exposure, selection, dt_ms)


def pieces_of(exposure: Exposure, selection: Selection, dt_ms: int | None) -> dict[str, Any]:
    """All risk segments at once: run, block, side, start, stop, distance, amount."""
    if dt_ms is None:
        s = exposure.segments
        found = {"run": s.run, "block": s.block, "side": s.side, "delta": s.delta}
        found |= {"start": s.start_ms, "stop": s.start_ms + s.duration_ms, "ms": s.duration_ms}
    else:
        found = joined(list(rows_at_risk(exposure, drawn=True)))
        time = found["time_ms"]
        found |= {"start": time - 1, "stop": time, "ms": np.full(len(time), dt_ms)}
    inside = selection.contains(found["delta"])
    found = {name: values[inside] for name, values in found.items()}
    return found | {"delta": selection.measure(found["delta"])}


def keyed(block: Ints, side: Ints, delta: Floats, ms: Ints) -> dict[Any, int]:
    table = pd.DataFrame({"block": block, "side": side, "ms": ms})
    table["parts"] = np.rint(delta * 1e6).astype(np.int64)
    sums: dict[Any, int] = table.groupby(["block", "side", "parts"])["ms"].sum().to_dict()
    return sums


def of_risk(risk: Risk) -> dict[Any, int]:
    return keyed(risk.block, risk.places.side[risk.place], risk.delta, risk.amount_ms)


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_a_log_has_the_sums_and_the_ends_of_its_pieces(
    exposure: Exposure, selection: Selection, dt_ms: int | None
) -> None:
    risk, all_ = risk_of(exposure, selection, dt_ms), pieces_of(exposure, selection, dt_ms)
    whole = keyed(*(all_[name] for name in ("block", "side", "delta", "ms")))
    assert of_risk(risk) == whole
    for at, run in enumerate(risk.runs):
        mine = all_["run"] == run
        assert risk.begin_ms[at] == all_["start"][mine].min()
        assert risk.end_ms[at] == all_["stop"][mine].max()


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_between_two_times_is_the_time_at_risk_that_lies_there(
    exposure: Exposure, selection: Selection, dt_ms: int | None
) -> None:
    risk, all_ = risk_of(exposure, selection, dt_ms), pieces_of(exposure, selection, dt_ms)
    begin, end = int(risk.begin_ms.min()), int(risk.end_ms.max())
    rng = np.random.default_rng(5)
    # At and beside borders of blocks, starts of segments, and anywhere.
    border, some = exposure.paths[0].block_start_ms[3:5], rng.choice(all_["start"], 6)
    for times in (
        np.concatenate([border - 1, border]),
        np.concatenate([border, border + 1]),
        np.concatenate([some, some + 1]),
        rng.integers(begin - 5_000, end + 5_000, 12),
    ):
        cut = risk.cut_at(times)
        for low, high in pairwise(np.sort(times).tolist()):
            part = cut.between(low, high)
            if dt_ms is None:
                ms = np.minimum(all_["stop"], high) - np.maximum(all_["start"], low)
            else:  # a draw counts whole where it is made
                ms = np.where((all_["start"] >= low) & (all_["start"] < high), all_["ms"], 0)
            inside = ms > 0
            names = ("block", "side", "delta")
            assert of_risk(part) == keyed(*[all_[name][inside] for name in names], ms[inside])  # type: ignore[call-arg]
            events = (risk.event_ms > low) & (risk.event_ms <= high)
            assert part.n_events == np.count_nonzero(events)


def test_a_part_of_a_log_can_not_be_cut_anew(exposure: Exposure) -> None:
    risk = Risk.continuous(exposure, Selection())
    begin, end = int(risk.begin_ms.min()), int(risk.end_ms.max())
    part = risk.between(begin, (begin + end) // 2)
    part.between(begin, (begin + end) // 2)
    with pytest.raises(ValueError, match="whole log"):
        part.between(begin, begin + 1_000)
    with pytest.raises(ValueError, match="part of a log"):
        rescale(part, risk.fit(), np.random.default_rng(1))


def test_two_parts_are_the_whole(exposure: Exposure, dt_ms: int | None) -> None:
    risk = risk_of(exposure, Selection(), dt_ms)
    share = 0.37
    first, rest = split(risk, share)
    cut = split_ms(risk, share)
    both = of_risk(first)
    for key, ms in of_risk(rest).items():
        both[key] = both.get(key, 0) + ms
    assert both == of_risk(risk)
    assert first.n_events + rest.n_events == risk.n_events
    begin, end = risk.begin_ms.min(), risk.end_ms.max()
    assert (cut - begin) / (end - begin) == pytest.approx(share, abs=1e-5)
    assert first.since_ms.max() < cut <= rest.since_ms.min()
    assert first.event_ms.max() <= cut < rest.event_ms.min()


def test_the_time_that_runs_cover_is_cut_by_the_calendar(exposure: Exposure) -> None:
    """Of runs at [0, 100), [50, 150) and [1000, 1100) half is covered at 125."""
    begin, end = np.array([1000, 0, 50]), np.array([1100, 100, 150])
    risk = replace(Risk.continuous(exposure, Selection()), begin_ms=begin, end_ms=end)
    assert [split_ms(risk, share) for share in (0.2, 0.5, 0.6, 0.8)] == [50, 125, 150, 1050]
    assert risk.covered_ms == 250


def clock_at(times: Floats, start: Ints, stop: Ints, rate: Floats) -> Floats:
    """The rescaled clock by its definition: rate times what has passed of each risk segment."""
    return np.array([(rate * np.clip(t - start, 0, stop - start)).sum() for t in times])


def test_the_clock_is_the_rate_integrated(exposure: Exposure) -> None:
    all_ = pieces_of(exposure, Selection(), None)
    rate = np.exp(-0.3 * all_["delta"]) / 1000.0
    begin, end = all_["start"].min(), all_["stop"].max()
    rng = np.random.default_rng(2)
    times = np.sort(rng.integers(begin, end, 80).astype(float))
    times[40] = times[41]  # two events at once
    times[10] = all_["start"][7]
    times = np.sort(times)
    clock = Clock(times)
    order = rng.permutation(len(rate))
    for some in np.array_split(order, 7):
        clock.add(all_["start"][some], all_["stop"][some], rate[some])
    expected = np.diff(clock_at(times, all_["start"], all_["stop"], rate), prepend=0.0)
    np.testing.assert_allclose(clock.gaps(), expected, rtol=1e-12, atol=1e-11)


def test_rescaled_gaps_are_expected_events_between_events(
    exposure: Exposure, dt_ms: int | None
) -> None:
    risk, all_ = risk_of(exposure, Selection(), dt_ms), pieces_of(exposure, Selection(), dt_ms)
    fit = risk.fit()
    rng = np.random.default_rng(9)
    # Both runs are over the same minutes: one clock.
    hazard = all_["ms"] / 1000.0 * fit.A * np.exp(-fit.k * all_["delta"])
    rate = (hazard if dt_ms is None else -np.expm1(-hazard)) / (all_["stop"] - all_["start"])
    times = risk.event_ms.astype(float)
    if dt_ms is not None:
        times = times - rng.random(len(times))
    at = clock_at(np.sort(times), all_["start"], all_["stop"], rate)
    found = rescale(risk, fit, np.random.default_rng(9))
    np.testing.assert_allclose(found.gaps, np.diff(at, prepend=0.0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        found.position,
        at / (hazard.sum() if dt_ms is None else (rate * (all_["stop"] - all_["start"])).sum()),
        rtol=1e-10,
    )
    assert found.gaps.min() >= 0.0
    assert found.new.sum() == (len(times) if dt_ms else len(np.unique(times)))
    gaps = rescaled_time(found, rng).gaps
    np.testing.assert_array_equal(gaps, found.gaps[found.new] / found.gaps[found.new].mean())


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number below a result, with the way to it."""
    if is_dataclass(value):
        for field in fields(value):
            yield from numbers(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f"{name}[{key}]")
    elif isinstance(value, (tuple, list)):
        for at, item in enumerate(value):
            yield from numbers(item, f"{name}[{at}]")
    elif isinstance(value, np.ndarray):
        yield name, value.tolist()
    elif value is None or isinstance(value, (int, float, str, np.generic)):
        yield name, value


def calibrated(drawn: bool) -> Calibration:
    settings = Settings.build(
        {
            "SYMBOL": "X",
            "TICK_SIZE": 1.0,
            "BLOCK_S": 20.0,
            "SCHEDULE_TRAIN_MIN": 1.0,
            "SCHEDULE_STEP_MIN": 0.4,
        }
        | ({"POISSON_DT_MS": DT_MS} if drawn else {})
    )
    if drawn:
        return run_steps(log_from_frames(logs(), "X"), settings)
    log = simulate(Scenario(duration_s=200.0, ttl_ms=20_000, outages=((50.0, 12.0),)), 3)
    return run_steps(log_from_frames([(log.orders, log.fills, log.state)], "X"), settings)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("size", [1_000, 77])
def test_no_number_depends_on_the_size_of_the_chunks(
    drawn: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = calibrated(drawn)
    monkeypatch.setattr("mm.exposure.segments.CHUNK_SEGMENTS", size)
    chunked = calibrated(drawn)
    assert whole.diagnostics is not None
    assert chunked.diagnostics is not None
    one = dict(numbers(whole.diagnostics))
    other = dict(numbers(chunked.diagnostics))
    assert len(one) > 200
    for name, value in one.items():
        if isinstance(value, (float, list)):
            np.testing.assert_allclose(other[name], value, rtol=1e-11, atol=1e-11, err_msg=name)
        else:
            assert other[name] == value, name


def test_trial_sums_count_the_pairs(exposure: Exposure) -> None:
    for drawn in (True, False):
        pairs = joined(list(rows_at_risk(exposure, drawn=drawn)))
        table = pd.DataFrame(pairs).assign(parts=np.rint(pairs["delta"] * 1e6).astype(np.int64))
        counts = table.groupby(["block", "side", "level", "parts"])["event"].agg(["size", "sum"])
        sums = trial_sums(exposure, drawn=drawn)
        columns = (sums.block, sums.side, sums.level, sums.parts)
        keys = zip(*(column.tolist() for column in columns), strict=True)
        found = dict(zip(keys, map(tuple, sums.values.tolist()), strict=True))
        assert found == {key: tuple(row) for key, row in counts.iterrows()}


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize("hidden", [False, True])
def test_through_outages_the_last_mid_holds(selection: Selection, hidden: bool) -> None:
    orders, fills, state = logs()[0]
    # One more fill, in the middle of the outage.
    silent = state["recv_ms"].diff().idxmax()
    middle = int(state["recv_ms"][[silent - 1, silent]].mean()) + 3_000
    open_then = orders[orders["action"] == "PLACE"].query("recv_ms < @middle").iloc[-1]
    fills = pd.concat([fills, fills.iloc[:1].assign(recv_ms=middle, order_id=open_then.order_id)])
    run = log_from_frames([(orders, fills.sort_values("recv_ms", kind="stable"), state)]).runs[0]
    if hidden:
        before = int(state["recv_ms"][silent - 1])
        blind = np.array([before - 20_000, before - 20_000, before + 7_000])
        run = replace(run, blind_ms=np.sort(np.append(blind, state["recv_ms"].to_numpy()[300])))
    known, forever = (
        measure_exposure([run], tick_size=1.0, max_state_gap_ms=gap, block_s=20.0)
        for gap in (5_000, 10**12)
    )
    found, expected = cells_through_outages(run, known, selection), forever.cells(selection)
    for field in fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
    if selection == Selection():
        gained = found.n_events - known.cells(selection).n_events
        assert gained == (0 if hidden else 1)
    assert found.exposure_ms.sum() > known.cells(selection).exposure_ms.sum()
