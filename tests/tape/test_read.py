"""Tapes as venues write them, and tapes that are none."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mm.core.errors import InputError
from mm.pipeline.cli import main
from mm.tape.__main__ import main as write_tables
from mm.tape.read import read_tape
from mm.tape.tape import Tape
from tests.tape.test_virtual import START_MS, truth

Tables = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def tape() -> Tape:
    made = truth(2, seconds=300)
    return replace(made, bid=np.round(made.bid, 10), ask=np.round(made.ask, 10))


@pytest.fixture
def plain(tape: Tape) -> Tables:
    trades = pd.DataFrame(
        {
            "time": tape.trade_ms,
            "price": tape.price,
            "qty": 1.0,
            "side": np.where(tape.sold, "sell", "buy"),
        }
    )
    quotes = pd.DataFrame({"time": tape.quote_ms, "bid": tape.bid, "ask": tape.ask})
    return trades, quotes


def written(folder: Path, tables: Tables, header: bool = True) -> tuple[Path, Path]:
    paths = folder / "trades_X.csv", folder / "quotes_X.csv"
    for path, table, named in zip(paths, tables, (header, True), strict=True):
        table.to_csv(path, index=False, header=named)
    return paths


def alike(one: Tape, other: Tape) -> None:
    for name in ("trade_ms", "price", "sold", "quote_ms", "bid", "ask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.tick == other.tick


def binance(plain: Tables, scale: int) -> pd.DataFrame:
    trades = plain[0]
    return pd.DataFrame(
        {
            "id": np.arange(len(trades)) + 1000,
            "price": trades["price"],
            "qty": 1.0,
            "quote_qty": trades["price"],
            "time": trades["time"] * scale,
            "is_buyer_maker": trades["side"] == "sell",
            "is_best_match": True,
        }
    )


def agg(plain: Tables) -> pd.DataFrame:
    made = binance(plain, 1).drop(columns=["quote_qty", "is_best_match"])
    made.insert(3, "first_trade_id", made["id"])
    made.insert(4, "last_trade_id", made["id"])
    return made.rename(columns={"id": "agg_trade_id", "qty": "quantity", "time": "transact_time"})


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    "made", [lambda p: binance(p, 1), lambda p: binance(p, 1000), agg], ids=["ms", "us", "agg"]
)
def test_archives_of_binance(
    tmp_path: Path, tape: Tape, plain: Tables, made: Callable[[Tables], pd.DataFrame], header: bool
) -> None:
    found = read_tape(*written(tmp_path, (made(plain), plain[1]), header))
    alike(found, tape)
    assert any("µs" in text for text in found.said) == (made(plain).iloc[0, 4] > 1e15)


def test_tardis(tmp_path: Path, tape: Tape, plain: Tables) -> None:
    trades, quotes = plain
    theirs = (
        pd.DataFrame(
            {
                "exchange": "x",
                "symbol": "X",
                "timestamp": trades["time"] * 1000,
                "local_timestamp": trades["time"] * 1000 + 7,
                "id": np.arange(len(trades)) + 5,
                "side": trades["side"],
                "price": trades["price"],
                "amount": 1.0,
            }
        ),
        pd.DataFrame(
            {
                "exchange": "x",
                "symbol": "X",
                "timestamp": quotes["time"] * 1000,
                "local_timestamp": quotes["time"] * 1000 + 7,
                "ask_amount": 1.0,
                "ask_price": quotes["ask"],
                "bid_price": quotes["bid"],
                "bid_amount": 1.0,
            }
        ),
    )
    alike(read_tape(*written(tmp_path, theirs)), tape)


def test_packed_and_parquet(tmp_path: Path, tape: Tape, plain: Tables) -> None:
    trades, quotes = written(tmp_path, plain)
    packed = tmp_path / "trades_X.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(trades, trades.name)
    plain[1].to_parquet(tmp_path / "quotes_X.parquet")
    alike(read_tape(packed, tmp_path / "quotes_X.parquet"), tape)
    plain[0].to_csv(tmp_path / "t.csv.gz", index=False)
    alike(read_tape(tmp_path / "t.csv.gz", quotes), tape)


def test_prints_that_are_missing_are_a_gap(tmp_path: Path, plain: Tables) -> None:
    trades = binance(plain, 1).drop(index=range(100, 130))
    found = read_tape(*written(tmp_path, (trades, plain[1])))
    assert found.gap_start_ms.tolist() == [plain[0]["time"][99]]
    assert found.gap_end_ms.tolist() == [plain[0]["time"][130]]
    assert any("missing at 1 places" in text for text in found.said)


def change(kind: int, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Tables], Tables]:
    def apply(tables: Tables) -> Tables:
        made = list(tables)
        made[kind] = edit(made[kind])
        return made[0], made[1]

    return apply


BAD: dict[str, tuple[Callable[[Tables], Tables], str]] = {
    "reversed": (change(0, lambda t: t.iloc[::-1]), "time runs backwards"),
    "shuffled": (change(0, lambda t: t.sample(frac=1.0, random_state=1)), "out of order"),
    "no side": (change(0, lambda t: t.drop(columns="side")), "no column of aggressors"),
    "side empty": (change(0, lambda t: t.assign(side="")), "no aggressor"),
    "one side": (change(0, lambda t: t.assign(side="buy")), "one aggressor"),
    "flipped": (
        change(0, lambda t: t.assign(side=t["side"].map({"buy": "sell", "sell": "buy"}))),
        "buy and sell are swapped",
    ),
    "another clock": (
        change(0, lambda t: t.assign(price=t["price"] + np.where(t.index % 2, 8.0, -8.0))),
        "different clocks or markets",
    ),
    "crossed": (change(1, lambda t: t.rename(columns={"bid": "ask", "ask": "bid"})), "above the"),
    "twice": (change(0, lambda t: pd.concat([t, t]).sort_values("time")), "stand twice"),
    "another day": (change(1, lambda t: t.assign(time=t["time"] + 86_400_000)), "no time in"),
    "text": (change(0, lambda t: t.assign(price=t["price"].astype(str) + "x")), "no number"),
    "no bid": (change(1, lambda t: t.drop(columns="bid")), "no column of bids"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_tape_that_is_none_is_one_clear_line(tmp_path: Path, plain: Tables, name: str) -> None:
    edit, said = BAD[name]
    with pytest.raises(InputError) as error:
        read_tape(*written(tmp_path, edit(plain)))
    text = str(error.value)
    assert said in text
    assert "_X.csv" in text
    assert "\n" not in text
    assert error.value.remedy


def test_a_day_that_begins_without_a_quote_begins_with_its_first(
    tmp_path: Path, plain: Tables
) -> None:
    found = read_tape(*written(tmp_path, (plain[0], plain[1][plain[1]["time"] > START_MS + 9000])))
    assert found.start_ms > START_MS + 9000
    assert any("quoting begins there" in text for text in found.said)


def test_the_same_by_the_driver_and_as_tables(tmp_path: Path, plain: Tables) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    written(data, plain)
    chosen = {"TICK_SIZE": "1", "REQUOTE_MS": "1000", "HORIZON_MS": "1000", "QUOTE_TICKS": "1,2,3"}
    given = [part for name, value in chosen.items() for part in ("-p", name, value)]
    arguments = ["--data-dir", str(data), "--out-dir", str(out), "--kernel", "stock", *given]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    params = json.loads((out / "X" / "params_X.json").read_text())
    assert params["source"] == "tape"
    assert "virtual orders every 1,000 ms at 1, 2, 3 ticks" in params["virtual_orders"]
    assert set(params["inputs_sha256"]) == {"trades_X.csv", "quotes_X.csv"}
    page = (out / "X" / "report_X.html").read_text()
    assert "nobody&#39;s orders made this" in page
    assert "Other horizons and fill rules" in page
    tables, again = tmp_path / "tables", tmp_path / "again"
    assert write_tables([str(data), str(tables), "--symbol", "X", *given]) == 0
    arguments = ["--data-dir", str(tables), "--out-dir", str(again), "--kernel", "stock", *given]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    other = json.loads((again / "X" / "params_X.json").read_text())
    assert (other["A"], other["k"]) == (params["A"], params["k"])


def test_half_a_tape_is_none(tmp_path: Path, plain: Tables) -> None:
    written(tmp_path, plain)
    (tmp_path / "quotes_X.csv").unlink()
    done = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "--list"])
    assert done.exit_code == 2
    assert "trades_ and quotes_<SYMBOL>" in done.output
    assert write_tables([str(tmp_path), str(tmp_path / "o"), "--symbol", "X"]) == 2
