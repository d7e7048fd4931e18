"""hummingbot's SQLite by the models of hummingbot/model, as its MarketsRecorder fills them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.convert import main
from mm.engines.recordings import tables_of
from mm.simulate import Scenario, simulate
from tests.support import recordings


@pytest.fixture(scope="module")
def ours() -> recordings.Tables:
    log = simulate(
        Scenario(A=1.0, k=0.4, duration_s=60.0, reject_share=0.05, partial_share=0.3), seed=5
    )
    return {
        "orders": log.orders.astype({"order_id": "str"}),
        "fills": log.fills.astype({"order_id": "str"}),
        "state": log.state,
    }


def run(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "bot.sqlite")) as base:
        base.execute(statement)
        base.commit()


def test_prices_sizes_fees_and_the_times_of_mid_are_millionths(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    (found,) = tables_of(recordings.write_hummingbot(tmp_path / "theirs", ours))
    assert found.symbol == "AAA-USDT"
    for name in ("price", "qty", "fee"):
        np.testing.assert_allclose(found.fills[name], ours["fills"][name], atol=1e-6)
    pd.testing.assert_frame_equal(
        found.state, ours["state"][["recv_ms", "mid"]].drop_duplicates("recv_ms", keep="last"),
        check_dtype=False,
    )  # fmt: skip
    accepted = {e.order_id for e in recordings.events_of(ours) if e.kind == "accept"}
    assert found.orders["order_id"].nunique() == len(accepted)


def test_databases_of_before_the_millionths_hold_floats(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    (expected,) = tables_of(theirs)
    run(theirs, 'UPDATE "Order" SET price = price / 1e6 + 1e-9')
    run(theirs, "UPDATE TradeFill SET price = price / 1e6 + 1e-9")
    (found,) = tables_of(theirs)
    for name in ("orders", "fills"):
        np.testing.assert_allclose(
            getattr(found, name)["price"], getattr(expected, name)["price"], rtol=1e-8
        )


def test_sides_stand_in_the_created_status_and_who_has_none_is_said(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    (before,) = tables_of(theirs)
    run(theirs, "UPDATE OrderStatus SET status = 'OrderCreated' WHERE status LIKE '%Created'")
    (found,) = tables_of(theirs)
    filled = set(found.fills["order_id"])
    assert set(found.orders["order_id"]) == filled
    n = before.orders["order_id"].nunique() - len(filled)
    assert any(f"{n} orders without a side are left out" in note for note in found.notes)


def test_market_orders_rest_at_no_price_though_they_name_one(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    (before,) = tables_of(theirs)
    first = before.fills["order_id"].iloc[0]
    run(theirs, f"UPDATE \"Order\" SET order_type = 'MARKET' WHERE id = '{first}'")  # noqa: S608
    (found,) = tables_of(theirs)
    assert first not in set(found.orders["order_id"])
    assert first not in set(found.fills["order_id"])
    assert any("1 orders that rest at no price" in note for note in found.notes)


def test_a_pair_of_two_exchanges_is_a_symbol_each(ours: recordings.Tables, tmp_path: Path) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    (alone,) = tables_of(theirs)
    dearer = {name: table.copy() for name, table in ours.items()}
    dearer["state"]["mid"] += 5.0
    recordings.write_hummingbot(theirs, dearer, "gate_io")
    second, first = tables_of(theirs)
    assert (first.symbol, second.symbol) == ("AAA-USDT@kucoin", "AAA-USDT@gate_io")
    pd.testing.assert_frame_equal(first.state, alone.state)
    assert second.state["mid"].tolist() == pytest.approx((alone.state["mid"] + 5.0).tolist())


def test_prices_too_small_for_millionths_are_said(ours: recordings.Tables, tmp_path: Path) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    run(theirs, 'UPDATE "Order" SET price = 12')  # 0.00001234
    (found,) = tables_of(theirs)
    assert any("whole millionths, 12 of them" in note for note in found.notes)


def test_fills_of_unknown_orders_are_said(ours: recordings.Tables, tmp_path: Path) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    run(theirs, "UPDATE TradeFill SET order_id = 'gone' WHERE rowid = 1")
    (found,) = tables_of(theirs)
    assert any("1 fills of orders that are not in Order" in note for note in found.notes)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("cut", "can't be read"),
        ('DELETE FROM "Order"', "no order"),
        ("DELETE FROM MarketData", "no mid"),
        ("UPDATE MarketData SET timestamp = timestamp / 1000000", "a time in ms, where ns"),
    ],
)
def test_a_damaged_database_is_one_line(
    damage: str,
    says: str,
    ours: recordings.Tables,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = recordings.write_hummingbot(tmp_path / "theirs", ours)
    file = theirs / "bot.sqlite"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        run(theirs, damage)
    assert main(["--from", "hummingbot", str(theirs), str(tmp_path / "logs")]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "logs").exists()
