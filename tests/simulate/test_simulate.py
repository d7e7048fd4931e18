"""The simulator against laws, known answers and a brute-force count of its own logs."""

from __future__ import annotations

import gzip
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mm.simulate import Burst, Scenario, SimulatedLog, simulate
from mm.simulate.__main__ import main
from mm.simulate.demo import DEMO, DEMO_SEED, SCENARIOS
from mm.simulate.write import csv_bytes

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
TABLES = ("orders", "fills", "state")

EVERYTHING = Scenario(
    duration_s=300.0,
    requote_ticks=3.0,
    dwell_ms=4000,
    ttl_ms=3500,
    reject_share=0.05,
    partial_share=0.4,
    outages=((100.0, 12.0),),
)
STATIC = Scenario(A=1.0, k=0.25, volatility=0.0, price_grid=1.0, deltas_ticks=(3.0,))


@pytest.fixture(scope="module")
def everything() -> SimulatedLog:
    return simulate(EVERYTHING, 7)


def lives(log: SimulatedLog) -> pd.DataFrame:
    """One row a live order: side, price, start, end (before its fill) and first fill, in ms."""
    orders = log.orders
    live = orders[(orders["action"] == "PLACE") & (orders["status"] != "REJECTED")]
    live = live.set_index("order_id")[["side", "price", "active_recv_ms", "expire_recv_ms"]]
    cancel = orders.groupby("order_id")["cancel_effective_ms"].min()
    live["end"] = live[["expire_recv_ms"]].assign(cancel=cancel).min(axis=1)
    live["end"] = live["end"].fillna(np.inf).clip(upper=log.state["recv_ms"].max())
    live["first"] = log.fills.groupby("order_id")["recv_ms"].min()
    return live


def exposure_s(log: SimulatedLog) -> float:
    """Seconds that orders rested, for logs without outages."""
    life = lives(log)
    rested = life["first"].fillna(life["end"]) - life["active_recv_ms"]
    return float(rested.clip(lower=0).sum()) / 1000.0


def assert_rate(n: int, expected: float, sigmas: float = 4.0) -> None:
    assert abs(n - expected) < sigmas * math.sqrt(expected), (n, expected)


# --- the truth -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "rate"),
    [
        ({}, math.exp(-0.75)),
        ({"partial_share": 0.5}, math.exp(-0.75)),
        ({"ttl_ms": 700, "reject_share": 0.2}, math.exp(-0.75)),
        ({"ttl_ms": 60, "A": 4.0}, 4.0 * math.exp(-0.75)),  # often inside one state gap
        ({"shape": "power", "power_p": 1.5, "power_delta0": 1.0}, 4.0**-1.5),
        ({"distance": "signed"}, math.exp(-0.75)),
    ],
)
def test_fills_per_exposure_equal_the_truth(change: dict[str, Any], rate: float) -> None:
    log = simulate(replace(STATIC, duration_s=3600.0, **change), 11)
    assert_rate(log.fills["order_id"].nunique(), rate * exposure_s(log))


def test_sides_have_their_own_truth() -> None:
    scenario = replace(STATIC, duration_s=3600.0, A_multiplier=(1.0, 0.5), k_multiplier=(1.0, 1.4))
    log = simulate(scenario, 3)
    for side, rate in (("BUY", math.exp(-0.75)), ("SELL", 0.5 * math.exp(-1.05))):
        life = lives(log)[lambda frame, side=side: frame["side"] == side]
        rested = (life["first"].fillna(life["end"]) - life["active_recv_ms"]).sum() / 1000.0
        assert_rate(int(life["first"].notna().sum()), rate * rested)


def test_moving_mid_changes_the_rate_of_resting_orders() -> None:
    # compensator at the truth, ms by ms: the mid of each ms is the last row strictly before it
    scenario = Scenario(A=0.6, k=0.2, volatility=3.0, duration_s=300.0, dwell_ms=6000)
    log = simulate(scenario, 5)
    t0, t1 = int(log.state["recv_ms"].min()), int(log.state["recv_ms"].max())
    ms = np.arange(t0 + 1, t1 + 1)
    row = np.searchsorted(log.state["recv_ms"], ms, side="left") - 1
    mid = log.state["mid"].to_numpy()[row]
    expected = frozen = 0.0
    life = lives(log)
    stops = life["first"].fillna(life["end"]).astype(int)
    for price, start, stop in zip(life["price"], life["active_recv_ms"], stops, strict=True):
        delta = np.abs(mid[start - t0 : stop - t0] - price)
        expected += 0.6 * np.exp(-0.2 * delta).sum() / 1000.0
        frozen += 0.6 * np.exp(-0.2 * delta[:1]).sum() * len(delta) / 1000.0
    n = log.fills["order_id"].nunique()
    assert_rate(n, expected)
    assert abs(n - frozen) > 4.0 * math.sqrt(frozen)  # a frozen distance would not pass


def test_a_fill_sees_the_last_row_strictly_before_it() -> None:
    # nothing fills beyond a few ticks here, and mid is seldom so near for two rows in a row
    scenario = Scenario(
        A=40.0, k=4.0, volatility=30.0, activate_ms=150, deltas_ticks=(0.0, 20.0), duration_s=300.0
    )
    log = simulate(scenario, 12)
    row = np.searchsorted(log.state["recv_ms"], log.fills["recv_ms"], side="left") - 1
    delta = np.abs(log.fills["price"].to_numpy() - log.state["mid"].to_numpy()[row])
    assert len(delta) > 100
    assert delta.max() < 5.0


def test_a_fill_is_stamped_at_the_end_of_its_ms() -> None:
    log = simulate(replace(STATIC, A=400.0, k=0.0), 13)
    life = lives(log)
    after = (life["first"] - life["active_recv_ms"]).dropna()
    assert after.min() == 1
    assert_rate(int((after == 1).sum()), -math.expm1(-0.4) * len(after))


def test_signed_distance_fills_faster_behind_mid() -> None:
    base = Scenario(A=0.3, k=0.3, volatility=3.0, duration_s=1200.0, dwell_ms=8000)
    n = {
        distance: lives(simulate(replace(base, distance=distance), 2))["first"].notna().mean()
        for distance in ("absolute", "signed")
    }
    assert n["signed"] > 1.1 * n["absolute"]


@pytest.mark.parametrize(
    "change",
    [{}, {"state_jitter_ms": 0, "ttl_ms": 470}],  # the latter ends intervals exactly at a row
)
def test_per_tick_mode_draws_p_once_a_row(change: dict[str, Any]) -> None:
    base = replace(STATIC, fill_mode="per_tick", dt_ms=250, state_gap_ms=40, dwell_ms=1000)
    scenario = replace(base, duration_s=1800.0, **change)
    log = simulate(scenario, 4)
    rows = log.state["recv_ms"].to_numpy()
    life = lives(log)
    start = np.searchsorted(rows, life["active_recv_ms"], side="left")
    stop = np.searchsorted(rows, life["end"], side="left")
    filled = life["first"].notna().to_numpy()
    stop[filled] = np.searchsorted(rows, life["first"][filled], side="right")
    assert set(life["first"][filled]) <= set(rows)
    assert (life["first"][filled] < life["end"][filled]).all()
    p = 1.0 - math.exp(-math.exp(-0.75) * 0.25)
    trials = np.clip(stop - start, 0, None).sum()
    assert_rate(int(filled.sum()), p * trials)
    assert (log.fills["reason"] == "poisson").all()
    assert log.fills["order_id"].is_unique


def test_bursts_have_their_share_and_multiply_the_rate() -> None:
    burst = Burst(multiplier=5.0, share=0.25, mean_length_s=4.0)
    scenario = replace(
        STATIC, A=0.05, deltas_ticks=(1.0, 2.0, 3.0), burst=burst, duration_s=4 * 3600.0
    )
    log = simulate(scenario, 6)
    share = log.truth["burst_share"]
    assert share == pytest.approx(0.25, abs=0.04)
    assert log.truth["A_time_average"] == pytest.approx(0.05 * 2.0)
    # orders at such a rate seldom fill, so they see bursts in proportion to their share
    quiet = 0.05 * np.exp(-0.25 * np.array([1.0, 2.0, 3.0])).mean()
    ratio = log.fills["order_id"].nunique() / (quiet * exposure_s(log))
    assert ratio == pytest.approx(1.0 + share * 4.0, rel=0.06)


# --- the log ---------------------------------------------------------------------------------


def test_columns_are_those_of_real_logs(everything: SimulatedLog) -> None:
    assert ",".join(everything.orders.columns) == (
        "recv_ms,order_id,action,status,side,price,qty,remaining_qty,active_recv_ms,"
        "expire_recv_ms,cancel_req_ms,cancel_effective_ms,reject_reason,cancel_reason"
    )
    assert ",".join(everything.fills.columns) == "recv_ms,order_id,side,price,qty,fee,reason"
    assert ",".join(everything.state.columns) == "recv_ms,inventory,cash,mid,mtm_value,open_orders"
    kinds = set(zip(everything.orders["action"], everything.orders["status"], strict=True))
    assert kinds >= {
        ("PLACE", "OPEN"),
        ("PLACE", "REJECTED"),
        ("FILL", "OPEN"),
        ("CLOSE_FILLED", "FILLED"),
        ("CANCEL_REQ", "CANCEL_PENDING"),
        ("CANCEL_ACK", "CANCELLED"),
        ("EXPIRE", "EXPIRED"),
    }
    for table in TABLES:
        assert getattr(everything, table)["recv_ms"].is_monotonic_increasing


def test_same_seed_same_bytes_other_seed_other_log() -> None:
    first, again, other = (simulate(EVERYTHING, seed) for seed in (1, 1, 2))
    for table in TABLES:
        assert csv_bytes(getattr(first, table)) == csv_bytes(getattr(again, table))
        assert csv_bytes(getattr(first, table)) != csv_bytes(getattr(other, table))


def test_shifting_the_clock_shifts_the_log_and_nothing_else(everything: SimulatedLog) -> None:
    moved = simulate(replace(EVERYTHING, start_ms=EVERYTHING.start_ms + 12_345), 7)
    for table in TABLES:
        frame = getattr(moved, table).copy()
        for column in [name for name in frame if name.endswith("_ms")]:
            frame[column] -= 12_345
        pd.testing.assert_frame_equal(frame, getattr(everything, table))


def test_prints_account_for_the_quantity(everything: SimulatedLog) -> None:
    orders, fills = everything.orders, everything.fills
    filled = fills.groupby("order_id")["qty"].sum()
    complete = orders.loc[orders["action"] == "CLOSE_FILLED", "order_id"]
    partly = filled.drop(complete)
    qty = EVERYTHING.quote_lots * EVERYTHING.lot_size
    assert filled[complete].to_numpy() == pytest.approx(qty)
    assert len(partly) > 0
    assert (partly < qty - 1e-12).all()
    live = orders[orders["status"] != "REJECTED"].copy()
    is_fill = live["action"] == "FILL"
    live.loc[is_fill, "print"] = -live.groupby("order_id")["remaining_qty"].diff()[is_fill]
    printed = live["print"].fillna(0.0).groupby(live["order_id"]).cumsum()
    assert live["remaining_qty"].to_numpy() == pytest.approx((qty - printed).to_numpy(), abs=1e-12)
    assert live.loc[is_fill, "print"].sum() == pytest.approx(fills["qty"].sum())
    # as many FILL rows in the orders as fills, at the same times
    rows = orders[orders["action"] == "FILL"].groupby("order_id")["recv_ms"].apply(list)
    assert rows.to_dict() == fills.groupby("order_id")["recv_ms"].apply(list).to_dict()
    assert fills.duplicated().any()


def test_share_of_partial_first_fills() -> None:
    scenario = replace(STATIC, partial_share=0.3, duration_s=3600.0)
    log = simulate(scenario, 8)
    first = log.fills.groupby("order_id")["recv_ms"].transform("min")
    at_first = log.fills[log.fills["recv_ms"] == first].groupby("order_id")["qty"].sum()
    partial = int((at_first < 0.001 - 1e-12).sum())
    assert_rate(partial, 0.3 * len(at_first))


def test_nothing_fills_outside_its_resting_interval(everything: SimulatedLog) -> None:
    life = lives(everything)
    assert life["expire_recv_ms"].notna().all()
    fills = everything.fills.join(life[["active_recv_ms", "end"]], on="order_id")
    assert (fills["recv_ms"] > fills["active_recv_ms"]).all()
    assert (fills["recv_ms"] <= fills["end"]).all()
    expired = everything.orders[everything.orders["action"] == "EXPIRE"]
    rows = everything.state["recv_ms"].to_numpy()
    next_row = rows[np.searchsorted(rows, expired["expire_recv_ms"], side="left")]
    assert (expired["recv_ms"].to_numpy() == next_row).all()
    assert (expired["cancel_reason"] == "TTL_EXPIRE").all()


@pytest.mark.parametrize("change", [{}, {"fill_mode": "per_tick", "partial_share": 0.0}])
def test_the_rows_of_an_order_tell_its_story_in_order(change: dict[str, Any]) -> None:
    log = simulate(replace(EVERYTHING, **change), 10)
    story = re.compile(
        "PLACE (FILL )*(CLOSE_FILLED |EXPIRE |CANCEL_REQ (FILL )*(CLOSE_FILLED |CANCEL_ACK )?)?"
    )
    # only a TTL that ends between a cancel's request and its effect gives both
    both = re.compile("PLACE (FILL )*CANCEL_REQ (FILL )*EXPIRE ")
    told = (log.orders["action"] + " ").groupby(log.orders["order_id"]).sum()
    assert len(told) > 500
    assert [text for text in told if not (story.fullmatch(text) or both.fullmatch(text))] == []


def test_quotes_are_replaced_when_old_or_when_mid_has_moved(everything: SimulatedLog) -> None:
    orders, state = everything.orders, everything.state
    rows, mid = state["recv_ms"].to_numpy(), state["mid"].to_numpy()
    placed = orders[orders["action"] == "PLACE"].set_index("order_id")["recv_ms"]
    requests = orders[orders["action"] == "CANCEL_REQ"].set_index("order_id")["recv_ms"]
    assert len(requests) > 100
    # EVERYTHING's TTL is shorter than its dwell, so only a move cancels there; see below
    spans = zip(placed[requests.index], requests, strict=True)
    for i, j in (np.searchsorted(rows, span) for span in spans):
        moved = np.abs(mid[i : j + 1] - mid[i]).round(6)
        assert (moved[:-1] <= 3.0).all()
        assert moved[-1] > 3.0
    still = simulate(replace(STATIC, A=0.05), 1).orders
    times = still.pivot_table(index="order_id", columns="action", values="recv_ms").dropna(
        subset=["CANCEL_REQ"]
    )
    age = times["CANCEL_REQ"] - times["PLACE"]
    assert len(age) > 100
    assert age.between(3000, 3000 + 102).all()


def test_acknowledgements_come_with_the_next_tick(everything: SimulatedLog) -> None:
    acks = everything.orders[everything.orders["action"] == "CANCEL_ACK"]
    rows = everything.state["recv_ms"].to_numpy()
    next_row = rows[np.searchsorted(rows, acks["cancel_effective_ms"], side="left")]
    assert (acks["recv_ms"].to_numpy() == next_row).all()
    assert (acks["cancel_effective_ms"] - acks["cancel_req_ms"] == 25).all()


def test_rejected_placements_never_fill(everything: SimulatedLog) -> None:
    orders = everything.orders
    rejected = orders.loc[orders["status"] == "REJECTED", "order_id"]
    placed = int((orders["action"] == "PLACE").sum())
    assert_rate(len(rejected), EVERYTHING.reject_share * placed)
    assert not everything.fills["order_id"].isin(rejected).any()
    assert (orders["order_id"].isin(rejected).sum()) == len(rejected)


def test_an_outage_has_no_rows_and_goes_silent(everything: SimulatedLog) -> None:
    since = everything.state["recv_ms"].to_numpy() - EVERYTHING.start_ms
    assert not ((since >= 100_000) & (since < 112_000)).any()
    before = since[since < 100_000].max()
    filled = everything.fills["recv_ms"].to_numpy() - EVERYTHING.start_ms
    assert ((filled > before) & (filled <= before + 5000)).any()
    assert not ((filled > before + 5000) & (filled < 112_000)).any()
    silent = simulate(replace(EVERYTHING, mid_hold_ms=110), 7)
    filled = silent.fills["recv_ms"].to_numpy() - EVERYTHING.start_ms
    assert not ((filled > before + 110) & (filled < 112_000)).any()


def test_quotes_lie_on_the_grid_at_their_distance_or_beyond(everything: SimulatedLog) -> None:
    placed = everything.orders[everything.orders["action"] == "PLACE"]
    mid = everything.state.set_index("recv_ms")["mid"][placed["recv_ms"]].to_numpy()
    grids = placed["price"] / EVERYTHING.price_grid
    assert (grids - grids.round()).abs().max() < 1e-6
    away = np.where(placed["side"] == "BUY", mid - placed["price"], placed["price"] - mid)
    wanted = np.array(EVERYTHING.deltas_ticks)
    beyond = (away[:, None] - wanted[None, :]).round(6)
    nearest = np.where(beyond >= 0, beyond, np.inf).min(axis=1)
    assert nearest.max() < EVERYTHING.price_grid


def test_the_state_counts_open_orders_and_cash(everything: SimulatedLog) -> None:
    orders, fills, state = everything.orders, everything.fills, everything.state
    change = (orders["action"].eq("PLACE") & orders["status"].eq("OPEN")).astype(int) - orders[
        "action"
    ].isin(["CLOSE_FILLED", "CANCEL_ACK", "EXPIRE"])
    rows = np.searchsorted(orders["recv_ms"], state["recv_ms"], side="right")
    assert (state["open_orders"] == change.cumsum().to_numpy()[rows - 1]).all()
    # at most one order a slot, beside those that wait for their CANCEL_ACK
    assert state["open_orders"].max() <= 4 * len(EVERYTHING.deltas_ticks)

    signed = np.where(fills["side"] == "BUY", 1.0, -1.0) * fills["qty"]
    assert state["inventory"].iloc[-1] == pytest.approx(signed.sum())
    paid = state["cash"].iloc[0] - state["cash"].iloc[-1]
    assert paid == pytest.approx((signed * fills["price"] + fills["fee"]).sum())
    worth = state["cash"] + state["inventory"] * state["mid"]
    np.testing.assert_allclose(state["mtm_value"], worth, atol=1e-6)


def test_scaling_the_tick_scales_prices_alone() -> None:
    small = simulate(EVERYTHING.in_ticks_of(0.01), 9)
    large = simulate(EVERYTHING, 9)
    np.testing.assert_allclose(small.state["mid"], large.state["mid"] / 100.0, rtol=1e-9)
    np.testing.assert_array_equal(small.fills["recv_ms"], large.fills["recv_ms"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"A": 0.0}, "A"),
        ({"k": math.nan}, "k"),
        ({"tick_size": -1.0}, "tick_size"),
        ({"reject_share": 1.0}, "reject_share"),
        ({"fill_mode": "per_tick", "partial_share": 0.1}, "partial_share"),
        ({"shape": "power", "distance": "signed"}, "distance"),
        ({"mid_price": 10.0}, "mid_price"),
        ({"duration_s": 0.01}, "duration_s"),
        ({"burst": Burst(2.0, 1.0, 5.0)}, "burst.share"),
        ({"burst": Burst(2.0, 0.1, 0.0)}, "burst.mean_length_s"),
    ],
)
def test_impossible_scenarios_are_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(field)}: .*must be"):
        simulate(replace(Scenario(), **change), 0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_named_scenarios_run(name: str) -> None:
    _, scenario = SCENARIOS[name]
    log = simulate(replace(scenario, duration_s=60.0), 0)
    assert log.fills["order_id"].nunique() > 20


# --- the demo and the command ----------------------------------------------------------------


def test_readme_and_settings_tell_the_truths_of_the_demo() -> None:
    lines = (DATA / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = {row[0]: row[1:] for row in cells if len(row) == 8 and row[0].endswith("USDT")}
    settings = yaml.safe_load((DATA / "calibration.yaml").read_text(encoding="utf-8"))["symbols"]
    assert set(table) == set(settings) == {scenario.symbol for scenario in DEMO}
    for scenario in DEMO:
        per_tick = scenario.fill_mode == "per_tick"
        a, k, tick, grid, source, dt, minutes = table[scenario.symbol]
        assert [float(text) for text in (a, k, tick, grid, minutes)] == [
            *(scenario.A, scenario.k, scenario.tick_size, scenario.price_grid),
            scenario.duration_s / 60.0,
        ]
        assert source == ("poisson" if per_tick else "trade_cross")
        assert dt == (str(scenario.dt_ms) if per_tick else "")
        expected = {"TICK_SIZE": scenario.tick_size}
        assert settings[scenario.symbol] == (
            expected | {"POISSON_DT_MS": scenario.dt_ms} if per_tick else expected
        )
    assert str(DEMO_SEED) in "\n".join(lines)


@pytest.mark.parametrize("number", range(len(DEMO)), ids=[scenario.symbol for scenario in DEMO])
def test_data_is_what_the_generator_makes(number: int) -> None:
    log = simulate(DEMO[number], DEMO_SEED + number)
    for table in TABLES:
        path = DATA / f"{table}_{DEMO[number].symbol}.csv.gz"
        assert gzip.decompress(path.read_bytes()) == csv_bytes(getattr(log, table))


def test_the_demo_is_small() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_000_000


def test_command_writes_a_folder_that_reads_back(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    arguments = ["--symbol", "0700.HK", "--minutes", "1", "--A", "0.9", "--tick-size", "0.05"]
    assert main([str(out), "--seed", "3", *arguments]) == 0
    names = [f"{table}_0700.HK.csv.gz" for table in TABLES]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "truth_0700.HK.json"])
    truth = json.loads((out / "truth_0700.HK.json").read_text())
    assert (truth["A"], truth["k"], truth["tick_size"], truth["seed"]) == (0.9, 0.3, 0.05, 3)
    base = replace(Scenario(), symbol="0700.HK", A=0.9, duration_s=60.0)
    log = simulate(base.in_ticks_of(0.05), 3)
    for table, name in zip(TABLES, names, strict=True):
        read = pd.read_csv(out / name)
        pd.testing.assert_frame_equal(read, getattr(log, table), check_dtype=False)
        assert b"\r" not in gzip.decompress((out / name).read_bytes())


def test_files_are_the_same_bytes_wherever_they_are_written(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert main([str(tmp_path / folder), "--minutes", "0.5"]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        if path.suffix == ".gz":
            assert path.read_bytes()[3:8] == bytes(5)  # no name, no time in the header


def test_existing_files_stay_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "fills_BTCUSDT.csv.gz"
    kept.write_bytes(b"mine")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "--minutes", "0.2"])
    assert stopped.value.code == 2
    assert "--force" in capsys.readouterr().err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
    assert main([str(tmp_path), "--minutes", "0.2", "--force"]) == 0
    assert kept.read_bytes() != b"mine"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["out", "--A", "zero"],
        ["out", "--A", "-1"],
        ["out", "--k", "nan"],
        ["out", "--minutes", "0"],
        ["out", "--seed", "1.5"],
        ["out", "--seed", "-1"],
        ["out", "--symbol", "../x"],
        ["out", "--scenario", "nonsense"],
        ["out", "--demo", "--A", "2"],
        ["out", "--demo", "--scenario", "ttl"],
        ["out", "--unknown"],
    ],
)
def test_bad_arguments_get_one_line(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(SCENARIOS)


def test_the_simulator_shares_no_code_with_the_estimator() -> None:
    script = (
        "import sys, mm.simulate.__main__;"
        "print([m for m in sys.modules if m.startswith('mm.') and "
        "m.split('.')[1] != 'simulate'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
