"""Tapes as they come: every form that is read is the same tape as the plain one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.core.settings import Settings
from mm.logs.discovery import find_symbols
from mm.tape.log import read_tapes
from mm.tape.tape import Tape
from mm.tape.virtual import Quoter, virtual_tables
from tests.support import tapes
from tests.support.tapes import Recording


def load(folder: Path) -> Tape:
    (recorded,) = read_tapes(find_symbols(folder)["BTCUSDT"], Settings())
    return recorded.tape


@pytest.fixture(scope="module")
def made() -> Recording:
    return tapes.quick_tape()


@pytest.fixture(scope="module")
def expected(made: Recording, tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return load(tapes.plain(tmp_path_factory.mktemp("plain"), made))


def same(found: Tape, expected: Tape) -> None:
    for name in ("trade_ms", "price", "sold", "quote_ms", "bid", "ask", "gap_start_ms"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert found.tick == expected.tick


def test_the_plain_form_is_read(made: Recording, expected: Tape) -> None:
    assert expected.trade_ms.tolist() == made.trades["time"].tolist()
    assert expected.price.tolist() == made.trades["price"].tolist()
    assert expected.sold.tolist() == (made.trades["side"] == "sell").tolist()
    assert expected.bid.tolist() == made.quotes["bid"].tolist()
    assert expected.tick == 0.001


Write = Callable[[Path, Recording], Path]
ARCHIVES = [
    ("spot", False, 1),
    ("spot", False, 1000),
    ("spot", True, 1000),
    ("usdm", True, 1),
    ("usdm", False, 1),
    ("agg", True, 1),
    ("agg", False, 1),
]
FORMS: dict[str, Write] = {
    **{
        f"plain{suffix}": partial(tapes.plain, suffix=suffix)
        for suffix in (".csv.gz", ".zip", ".csv.zip", ".parquet")
    },
    **{
        f"binance {what}, header {header}, {unit} to a ms": partial(
            tapes.binance, what=what, header=header, unit=unit
        )
        for what, header, unit in ARCHIVES
    },
    "Tardis.dev": tapes.tardis,
    "mmprototype's recorder": tapes.recorder,
    "hftbacktest, best quotes": partial(tapes.feed, depth=False),
    "hftbacktest, depth": partial(tapes.feed, depth=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_tape(
    form: str, made: Recording, expected: Tape, tmp_path: Path
) -> None:
    same(load(FORMS[form](tmp_path, made)), expected)


@pytest.mark.parametrize(
    ("factor", "unit"), [(0.001, "s"), (1, "ms"), (1000, "µs"), (1_000_000, "ns")]
)
def test_units_of_time_are_told_by_size(
    factor: float, unit: str, made: Recording, expected: Tape, tmp_path: Path
) -> None:
    trades = made.trades.assign(time=made.trades["time"] * factor)
    found = load(tapes.plain(tmp_path, Recording(trades, made.quotes)))
    same(found, expected)
    assert f"trades_BTCUSDT.csv: times of the exchange, column time, in {unit}" in found.said


def test_written_dates_are_times(made: Recording, expected: Tape, tmp_path: Path) -> None:
    trades, quotes = (
        table.assign(
            time=pd.to_datetime(table["time"], unit="ms").dt.strftime("%Y-%m-%d %H:%M:%S.%f")
        )
        for table in (made.trades, made.quotes)
    )
    same(load(tapes.plain(tmp_path, Recording(trades, quotes))), expected)


def test_the_clock_is_one_that_both_files_have(
    made: Recording, expected: Tape, tmp_path: Path
) -> None:
    """The exchange's own time is not there for quotes: when it told of them is taken of both."""
    trades = made.trades.assign(event_time=made.trades["time"], time=made.trades["time"] - 3)
    quotes = made.quotes.rename(columns={"time": "event_time"})
    quotes["recv_time_ms"] = quotes["event_time"] + 9
    same(load(tapes.plain(tmp_path, Recording(trades, quotes))), expected)


def test_a_mid_path_is_quoted_on_its_rows(made: Recording, tmp_path: Path) -> None:
    trades = made.trades.rename(columns={"time": "recv_ms"})
    tapes.write_csv(trades, tmp_path / "trades_BTCUSDT.csv")
    q = made.quotes[np.random.default_rng(1).random(len(made.quotes)) < 0.7]
    mid = pd.DataFrame({"recv_ms": q["time"], "mid": ((q["bid"] + q["ask"]) / 2).round(6)})
    tapes.write_csv(mid, tmp_path / "state_BTCUSDT.csv")
    tape = load(tmp_path)
    assert tape.is_mid
    times = tape.quoting_times(250)
    assert np.isin(times, q["time"]).all()
    before = tape.quote_ms[np.searchsorted(tape.quote_ms, times[1:]) - 1]
    assert (np.diff(times) >= 250).all()
    assert (before - times[:-1] < 250).all(), "and at the first one that is late enough"
    orders, _, _ = virtual_tables(tape, Quoter((0.01,), 250, 1000, 50, 25, "at"))
    assert (orders["status"] == "OPEN").all(), "no best quote to cross"
    tapes.write_csv(mid, tmp_path / "orders_BTCUSDT.csv")
    assert not find_symbols(tmp_path)["BTCUSDT"][0].is_tape, "orders that were placed come first"
