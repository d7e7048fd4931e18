"""Tapes that can't be true: one clear line, and no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.core.errors import InputError
from mm.core.settings import Settings
from mm.logs.discovery import find_symbols
from mm.tape.log import read_tapes
from mm.tape.read import read_tape
from mm.tape.tape import Tape
from mm.tape.virtual import Quoter, virtual_tables
from tests.support import tapes

Tables = tuple[pd.DataFrame, pd.DataFrame]
QUOTER = Quoter((0.5, 1.0, 2.0), 250, 2000, 50, 25, "at")


def load(folder: Path, trades: pd.DataFrame, quotes: pd.DataFrame) -> Tape:
    tapes.plain(folder, tapes.Recording(trades, quotes))
    (recorded,) = read_tapes(find_symbols(folder)["BTCUSDT"], Settings())
    return recorded.tape


@pytest.fixture(scope="module")
def tables() -> Tables:
    tape = tapes.quick_tape()
    return tape.trades, tape.quotes


def turned(table: pd.DataFrame) -> pd.DataFrame:
    return table[::-1].reset_index(drop=True)


def mirrored(table: pd.DataFrame) -> pd.DataFrame:
    time = table["time"]
    return turned(table.assign(time=time.min() + time.max() - time)).drop(columns="id")


def shuffled(values: pd.Series) -> np.ndarray:
    return np.random.default_rng(1).permutation(values.to_numpy())


def flipped(side: pd.Series) -> pd.Series:
    return side.map({"buy": "sell", "sell": "buy"})


Damage = Callable[[pd.DataFrame, pd.DataFrame], Tables]
FAULTS: dict[str, tuple[Damage, str]] = {
    "newest first": (lambda t, q: (turned(t), q), "trades_BTCUSDT.csv: time runs backwards"),
    "quotes newest first": (lambda t, q: (t, turned(q)), "quotes_BTCUSDT.csv: time runs backw"),
    "time reversed": (lambda t, q: (mirrored(t), q), "not of the market|times were turned round"),
    "rows shuffled": (
        lambda t, q: (t.sample(frac=1.0, random_state=1), q),
        "rows are out of order",
    ),
    "prices shuffled": (
        lambda t, q: (t.assign(price=shuffled(t["price"])), q),
        "not of the market of the quotes",
    ),
    "sides shuffled": (
        lambda t, q: (t.assign(side=shuffled(t["side"])), q),
        "of the aggressors that sold printed below",
    ),
    "no side": (
        lambda t, q: (t.drop(columns="side"), q),
        "no column of aggressors",
    ),
    "empty sides": (lambda t, q: (t.assign(side=""), q), "no aggressor, buy or sell"),
    "sides flipped": (
        lambda t, q: (t.assign(side=flipped(t["side"])), q),
        "buy and sell are swapped",
    ),
    "one side": (lambda t, q: (t.assign(side="buy"), q), "all aggressors bought"),
    "bid and ask swapped": (
        lambda t, q: (t, q.rename(columns={"bid": "ask", "ask": "bid"})),
        "bid and ask are named the other way round",
    ),
    "crossed in a stretch": (
        lambda t, q: (t, q.assign(bid=q["bid"] + np.where(q.index % 20 == 0, 9.0, 0.0))),
        "the bid is above the ask in",
    ),
    "twice, one after the other": (
        lambda t, q: (pd.concat([t, t]), q),
        "trades_BTCUSDT.csv, row 2: |stands in it twice|time starts again",
    ),
    "twice, without ids": (
        lambda t, q: (pd.concat([t, t]).drop(columns="id"), q),
        "time starts again",
    ),
    "each print twice, without ids": (
        lambda t, q: (pd.concat([t, t]).sort_values("time", kind="stable").drop(columns="id"), q),
        "each print stands twice",
    ),
    "each print twice": (
        lambda t, q: (pd.concat([t, t]).sort_values("time", kind="stable"), q),
        "have an id that an earlier one has",
    ),
    "a time zone apart": (lambda t, q: (t.assign(time=t["time"] + 7_200_000), q), "no time in co"),
    "another day": (lambda t, q: (t.assign(time=t["time"] + 86_400_000), q), "no time in common"),
    "no time": (lambda t, q: (t.drop(columns="time"), q), "no column of times"),
    "no price": (lambda t, q: (t.drop(columns="price"), q), "no column of prices"),
    "no bid": (lambda t, q: (t, q.drop(columns="bid")), "no column of bids"),
    "years ago": (lambda t, q: (t.assign(time=t["time"] // 10**6), q), "no s, ms, µs or ns"),
    "text for a price": (lambda t, q: (t.assign(price="x"), q), "price is no number"),
    "prices of nothing": (lambda t, q: (t.assign(price=0.0), q), "rows can't be used.*price 0"),
    "no print": (lambda t, q: (t[:0], q), "holds no row"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_tape_is_one_clear_line(name: str, tables: Tables, tmp_path: Path) -> None:
    damage, words = FAULTS[name]
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path, *damage(*tables))
    text = str(caught.value)
    assert "\n" not in text
    assert "BTCUSDT.csv" in text
    assert caught.value.remedy


@pytest.mark.parametrize("late_ms", [-20_000, -300, 1272])
def test_clocks_that_are_apart(late_ms: int, tmp_path: Path) -> None:
    """Where mid moves farther in that time than prints reach; elsewhere it does not matter."""
    fast = tapes.quick_tape(rate=5.0, k=3.0, step=5.0)
    load(tmp_path / "right", fast.trades, fast.quotes)
    trades = fast.trades.assign(time=fast.trades["time"] + late_ms)
    with pytest.raises(InputError, match=r"the clocks of prints and quotes are .* s apart") as told:
        load(tmp_path / "wrong", trades, fast.quotes)
    named = float(told.value.what.split(" are ")[1].split(" s ")[0])
    assert named == pytest.approx(abs(late_ms) / 1000, abs=0.3)
    assert ("later" if late_ms < 0 else "earlier") in told.value.what


def test_a_day_that_starts_without_a_quote(tables: Tables, tmp_path: Path) -> None:
    trades, quotes = tables
    late = quotes[quotes["time"] >= quotes["time"].iloc[0] + 60_000]
    tape = load(tmp_path, trades, late)
    orders, fills, state = virtual_tables(tape, QUOTER)
    for table in (orders, fills, state):
        assert table["recv_ms"].min() >= late["time"].iloc[0]
    assert any("quoting begins there" in text for text in tape.said)


def test_missing_prints_are_a_gap(tables: Tables, tmp_path: Path) -> None:
    trades, quotes = tables
    whole = load(tmp_path / "whole", trades, quotes)
    assert not len(whole.gap_start_ms)
    begin, end = trades["time"][99], trades["time"][110]
    tape = load(tmp_path / "lost", trades.drop(index=range(100, 110)), quotes)
    assert (tape.gap_start_ms.tolist(), tape.gap_end_ms.tolist()) == ([begin], [end])
    assert any("10 prints are missing by their ids" in text for text in tape.said)
    orders, fills, _ = virtual_tables(tape, QUOTER)
    assert not orders["recv_ms"].between(begin, end - 1).any()
    assert not fills["recv_ms"].between(begin + 1, end - 1).any()


def test_ids_that_count_nothing_are_no_gaps(tables: Tables, tmp_path: Path) -> None:
    trades, quotes = tables
    tape = load(tmp_path / "apart", trades.assign(id=7 * trades["id"]), quotes)
    assert any("no sequence" in text for text in tape.said)
    words = load(tmp_path / "words", trades.assign(id=[f"x-{n}" for n in trades["id"]]), quotes)
    assert not len(tape.gap_start_ms) + len(words.gap_start_ms)


def test_a_silence_of_the_quotes_is_no_market(tables: Tables, tmp_path: Path) -> None:
    trades, quotes = tables
    begin = quotes["time"].iloc[0] + 60_000
    silent = quotes[(quotes["time"] < begin) | (quotes["time"] > begin + 30_000)]
    orders, _, _ = virtual_tables(load(tmp_path, trades, silent), QUOTER)
    assert not orders["recv_ms"].between(begin + 5_000, begin + 29_999).any()


def test_a_silence_of_the_prints_is_a_gap(tmp_path: Path) -> None:
    busy = tapes.quick_tape(rate=8.0)
    begin = busy.trades["time"].iloc[0] + 60_000

    def without(ms: int) -> Tape:
        lost = busy.trades["time"].between(begin, begin + ms)
        return load(tmp_path / str(ms), busy.trades[~lost].drop(columns="id"), busy.quotes)

    found = without(90_000)
    assert any("taken for outages" in text for text in found.said)
    orders, _, _ = virtual_tables(found, QUOTER)
    assert not orders["recv_ms"].between(begin, begin + 89_000).any()
    assert not len(without(30_000).gap_start_ms)


def test_some_bad_rows_are_left_out_and_said(tables: Tables, tmp_path: Path) -> None:
    trades, quotes = tables
    crossed = quotes.copy()
    crossed.loc[50, "bid"] = 100_000.0
    spoilt = trades.drop(columns="id").astype({"price": object})
    spoilt.loc[5, "price"] = "x"
    tape = load(tmp_path, spoilt, crossed)
    said = "\n".join(tape.said)
    assert "1 crossed quotes are left out" in said
    assert "1 rows are left out (the first: price is no number)" in said
    assert (len(tape.price), len(tape.bid)) == (len(trades) - 1, len(quotes) - 1)
    path = tmp_path / "trades_BTCUSDT.csv"
    path.write_text(path.read_text() + "1735689900000\n")
    again = read_tape(path, tmp_path / "quotes_BTCUSDT.csv")
    assert any("2 rows are left out" in text for text in again.said)


def test_a_few_late_rows_are_put_in_order(tables: Tables, tmp_path: Path) -> None:
    trades, quotes = tables
    rows = np.arange(len(trades))
    rows[[30, 31]] = rows[[31, 30]]
    late = load(tmp_path / "late", trades.iloc[rows].drop(columns="id"), quotes)
    whole = load(tmp_path / "whole", trades, quotes)
    assert late.price.tolist() == whole.price.tolist()
    assert any("1 rows were late" in text for text in late.said)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"1,2,3\n", "no header, and 3 columns"),
        (b"\x1f\x8bnonsense", "can't be read"),
    ],
)
def test_files_that_are_none(content: bytes, words: str, tables: Tables, tmp_path: Path) -> None:
    quotes = tapes.write_csv(tables[1], tmp_path / "quotes_BTCUSDT.csv")
    trades = tmp_path / f"trades_BTCUSDT.csv{'.gz' if content[:1] == bytes([0x1F]) else ''}"
    trades.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_tape(trades, quotes)


def test_an_archive_that_is_no_feed(tmp_path: Path) -> None:
    np.savez(tmp_path / "trades_OTHER.npz", data=np.arange(3))
    with pytest.raises(InputError, match="no events of hftbacktest's feed"):
        read_tape(tmp_path / "trades_OTHER.npz")
