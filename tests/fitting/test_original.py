"""`fitting.original` against the original notebook's own code: digit for digit, error for error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import mm
from mm.calibration import account, estimate
from mm.core.settings import Settings
from mm.fitting.estimate import Estimate
from mm.fitting.original_notebook import _points
from mm.fitting.original_points import points_of
from mm.logs.load import load_log
from mm.logs.log import Run
from mm.simulate import SimulatedLog, simulate
from mm.simulate.demo import SCENARIOS
from tests.support.original_notebook import run_notebook

DATA = Path(__file__).resolve().parents[2] / "data"
DEMO = yaml.safe_load((DATA / "calibration.yaml").read_text())["symbols"]
TABLES = ("orders", "fills", "state")
EXACT = 1e-12


@pytest.fixture(scope="module")
def log() -> SimulatedLog:
    return short("all_at_once", 1)


def short(name: str, seed: int) -> SimulatedLog:
    scenario = SCENARIOS[name][1]
    outages = ((60.0, 15.0),) if scenario.outages else ()
    return simulate(replace(scenario, duration_s=150.0, outages=outages), seed)


def write(folder: Path, **tables: pd.DataFrame) -> list[Path]:
    paths = [folder / f"{name}_BTCUSDT.csv" for name in TABLES]
    for name, path in zip(TABLES, paths, strict=True):
        tables[name].to_csv(path, index=False)
    return paths


def frames(log: SimulatedLog, **changed: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"orders": log.orders, "fills": log.fills, "state": log.state, **changed}


def estimated(folder: Path, symbol: str = "BTCUSDT", **settings: object) -> Estimate:
    """The steps of the notebook up to the estimate."""
    chosen = Settings.build({"SYMBOL": symbol, **settings})
    log = load_log(folder, symbol)
    return estimate(log, account(log, chosen), chosen)


def notebook(paths: list[Path], **settings: float) -> tuple[tuple[float, float] | None, str]:
    """Its A and k, or None and the exception it raises, as text."""
    try:
        return run_notebook(*paths, **settings), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def assert_same_as_notebook(folder: Path, paths: list[Path], **settings: float) -> None:
    """The same A and k to 1e-12, or the same exception; as `original` and as the headline."""
    given = {"TICK_SIZE": 1.0, **settings}
    expected, text = notebook(paths, **given)
    exact = estimated(folder, **given)
    headline = estimated(folder, **given, FIT_METHOD="log_linear")
    if expected is None:
        assert exact.original is None
        assert exact.original_error == text
        assert headline.fit is None
        assert text in str(headline.refusal)
    else:
        assert exact.original is not None, exact.original_error
        assert exact.original_error is None
        assert (exact.original.A, exact.original.k) == pytest.approx(expected, rel=EXACT)
        assert headline.emitted is not None
        assert headline.emitted.method == "log_linear"
        assert (headline.emitted.A, headline.emitted.k) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_same_numbers_on_every_scenario(name: str, tmp_path: Path) -> None:
    paths = write(tmp_path, **frames(short(name, 2)))
    assert notebook(paths, TICK_SIZE=1.0)[0] is not None
    assert_same_as_notebook(tmp_path, paths)


@pytest.mark.parametrize(
    "settings",
    [
        {"MIN_DELTA_TICKS": 2},
        {"MAX_DELTA_TICKS": 4},
        {"MIN_DELTA_TICKS": 1, "MAX_DELTA_TICKS": 6},
        {"MIN_EXPOSURE_S": 0.0},
        {"MIN_EXPOSURE_S": 60.0},
        {"MIN_EXPOSURE_S": 1e6},
        {"TICK_SIZE": 0.1},
        {"TICK_SIZE": 0.1, "MAX_DELTA_TICKS": 100},
        {"TICK_SIZE": 0.3, "MIN_EXPOSURE_S": 1.0},
        {"TICK_SIZE": 2.5},
        {"TICK_SIZE": 100.0},
    ],
    ids=str,
)
def test_the_same_numbers_at_other_settings(
    settings: dict[str, float], log: SimulatedLog, tmp_path: Path
) -> None:
    assert_same_as_notebook(tmp_path, write(tmp_path, **frames(log)), **settings)


@pytest.mark.parametrize("tick_size", [0.01, 0.0001, 1e-8])
def test_the_same_numbers_at_other_scales_of_price(tick_size: float, tmp_path: Path) -> None:
    """Whole-tick distances fall on either side of a bucket's edge by rounding: literally so."""
    scenario = replace(SCENARIOS["partials"][1], duration_s=100.0, price_grid=1.0, volatility=2.0)
    log = simulate(scenario.in_ticks_of(tick_size), 3)
    assert_same_as_notebook(tmp_path, write(tmp_path, **frames(log)), TICK_SIZE=tick_size)


@pytest.mark.parametrize("symbol", sorted(DEMO))
def test_the_same_numbers_on_the_demo(symbol: str) -> None:
    settings = dict(DEMO[symbol])
    paths = [DATA / f"{name}_{symbol}.csv.gz" for name in TABLES]
    A, k = run_notebook(*paths, TICK_SIZE=settings["TICK_SIZE"])  # type: ignore[misc]
    original = estimated(DATA, symbol, **settings).original
    assert original is not None
    assert (original.A, original.k) == pytest.approx((A, k), rel=EXACT)


def test_floor_puts_a_whole_tick_distance_one_bucket_low(tmp_path: Path) -> None:
    # (0.35 - 0.3)/0.01 = 4.999999999999999 in float64: bucket 4 there, 5 ticks for the exact fit
    orders = pd.DataFrame(
        {
            "recv_ms": [1000, 1000],
            "order_id": ["a", "b"],
            "action": "PLACE",
            "side": "BUY",
            "price": [0.3, 0.33],
            "active_recv_ms": [1000, 1000],
            "cancel_effective_ms": np.nan,
        }
    )
    fills = pd.DataFrame({"recv_ms": [9000, 9000], "order_id": ["a", "b"], "qty": 1.0})
    state = pd.DataFrame({"recv_ms": np.arange(1000, 10_000, 1000), "mid": 0.35})
    paths = write(tmp_path, orders=orders, fills=fills, state=state)
    result = mm.calibrate(orders, fills, state, tick_size=0.01)
    assert result.estimate.original is not None
    assert result.estimate.original.points["delta_bucket"].tolist() == [1, 4]
    assert result.intensity.bucket.tolist() == [2, 5]
    assert_same_as_notebook(tmp_path, paths, TICK_SIZE=0.01)


Change = Callable[[SimulatedLog], dict[str, pd.DataFrame]]


def _twice(log: SimulatedLog) -> pd.DataFrame:
    place = log.orders[log.orders["action"] == "PLACE"].iloc[:40]
    return pd.concat([log.orders, place], ignore_index=True)


def _with_text(table: pd.DataFrame, name: str) -> pd.DataFrame:
    cells = table[name].astype(object)
    cells[cells.notna().idxmax()] = "soon"
    return table.assign(**{name: cells})


def _swapped(log: SimulatedLog) -> pd.DataFrame:
    side = log.orders["side"].copy()
    side[log.orders["action"].eq("CANCEL_REQ").idxmax()] = "?"
    return log.orders.assign(side=side)


ODD: dict[str, Change] = {
    "no cancel times": lambda log: {"orders": log.orders.assign(cancel_effective_ms=np.nan)},
    "no expiry times": lambda log: {"orders": log.orders.drop(columns="expire_recv_ms")},
    "active times empty": lambda log: {"orders": log.orders.assign(active_recv_ms=np.nan)},
    "a placement stands twice": lambda log: {"orders": _twice(log)},
    "rows in another order": lambda log: {
        name: getattr(log, name).sample(frac=1.0, random_state=5) for name in TABLES
    },
    "fills of unknown orders": lambda log: {
        "fills": pd.concat([log.fills, log.fills.assign(order_id="ghost")])
    },
    "empty fills": lambda log: {"fills": log.fills.iloc[:0]},
    "one bucket only": lambda log: {
        "orders": log.orders[log.orders["price"] > 0].assign(
            price=np.where(log.orders["side"] == "BUY", 59_000.0, 61_000.0)
        ),
        "state": log.state.assign(mid=60_000.0),
    },
    "no status column": lambda log: {"orders": log.orders.drop(columns="status")},
    "status in small letters": lambda log: {
        "orders": log.orders.assign(status=log.orders["status"].str.lower())
    },
    "actions in small letters": lambda log: {
        "orders": log.orders.assign(
            action=log.orders["action"].where(
                log.orders.index % 3 > 0, log.orders["action"].str.lower()
            )
        )
    },
    "a price that is text": lambda log: {"orders": _with_text(log.orders, "price")},
    "a mid that is text": lambda log: {"state": _with_text(log.state, "mid")},
    "a time of a fill that is text": lambda log: {"fills": _with_text(log.fills, "recv_ms")},
    "a time of an order that is text": lambda log: {
        "orders": _with_text(log.orders, "cancel_effective_ms")
    },
    "a mid is missing": lambda log: {
        "state": log.state.assign(mid=log.state["mid"].where(log.state.index != 40))
    },
    "an order that changes sides": lambda log: {"orders": _swapped(log)},
    "the fills of an order are missing": lambda log: {
        "fills": log.fills[log.fills["order_id"] != log.fills["order_id"].iloc[3]]
    },
    "no active times": lambda log: {"orders": log.orders.drop(columns="active_recv_ms")},
    "fills without qty": lambda log: {"fills": log.fills.drop(columns="qty")},
    "orders before the first mid": lambda log: {"state": log.state.iloc[300:]},
}


@pytest.mark.parametrize("what", ODD)
def test_the_same_numbers_or_the_same_exception_on_odd_logs(
    what: str, log: SimulatedLog, tmp_path: Path
) -> None:
    settings = {"MAX_DELTA_TICKS": 2000} if what == "one bucket only" else {}
    settings["TICK_SIZE"] = 1.0  # type: ignore[assignment]
    paths = write(tmp_path, **frames(log, **ODD[what](log)))
    assert_same_as_notebook(tmp_path, paths, **settings)


def test_without_a_column_of_cancel_times_no_order_is_cancelled(log: SimulatedLog) -> None:
    """As the notebook means it: pandas 3 raises in its own code there, older ones did not."""
    absent = log.orders.drop(columns="cancel_effective_ms")
    empty = log.orders.assign(cancel_effective_ms=np.nan)
    found = [
        mm.calibrate(**frames(log, orders=orders), tick_size=1.0).estimate.original
        for orders in (absent, empty, log.orders)
    ]
    numbers = [(fit.A, fit.k) for fit in found if fit is not None]
    assert numbers[0] == numbers[1] != numbers[2]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("empty fills", "RuntimeError: Not enough buckets with positive intensity"),
        ("one bucket only", "RuntimeError: Not enough buckets with positive intensity"),
        ("no active times", "KeyError: 'active_recv_ms'"),
        ("fills without qty", "KeyError: 'Column not found: qty'"),
        ("orders before the first mid", "IntCastingNaNError: Cannot convert non-finite values"),
    ],
)
def test_where_the_notebook_raises_original_is_null_and_says_so(
    what: str, text: str, log: SimulatedLog
) -> None:
    tables = frames(log, **ODD[what](log))
    result = mm.calibrate(**tables, tick_size=1.0, MAX_DELTA_TICKS=2000)
    assert result.estimate.original is None
    assert result.estimate.original_error is not None
    assert result.estimate.original_error.startswith(text)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_table_on_arrays_is_the_notebooks(name: str) -> None:
    log = short(name, 2)
    again = log.state.iloc[10::25].assign(mid=log.state["mid"] + 3.0)
    state = pd.concat([again, log.state]).sort_values("recv_ms", kind="stable", ignore_index=True)
    run = Run(log.orders, log.fills, state, int(state["recv_ms"].max()))
    for least, most in ((0.0, 50.0), (2.0, 6.0)):
        found = points_of(run, 1.0, least, most)
        assert found is not None
        expected = _points(run, 1.0, least, most)
        assert expected["fill_events"].sum() > 0
        pd.testing.assert_frame_equal(found, expected, rtol=EXACT)


def test_pooled_runs_have_no_original_and_say_so(log: SimulatedLog) -> None:
    runs = [log, short("partials", 4)]
    tables = {name: [getattr(run, name) for run in runs] for name in TABLES}
    result = mm.calibrate(**tables, tick_size=1.0)
    assert result.estimate.original is None
    assert "pooled" in str(result.estimate.original_error)
    assert result.estimate.fit is not None
