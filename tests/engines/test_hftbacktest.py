"""What hftbacktest 2.4.4 shows of orders that change: rows as its logger wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.convert import main
from mm.engines.events import Tables
from mm.engines.recordings import tables_of
from mm.logs.load import load_log

NEW, EXPIRED, FILLED, CANCELED, PARTIAL = 1, 2, 3, 4, 5
REPLACE, CANCEL = 7, 4  # requests
ZERO = 1_700_000_000_000  # ms
Row = tuple[int, int, int, int, float, float, int, int, int, int]
NAMES = ("now_ns", "order_id", "side", "price_tick", "qty", "leaves_qty", "status", "req")


def recording(folder: Path, rows: list[Row]) -> Path:
    """rows: now, id, side, tick, qty, leaves, status, req, exchange's and local time; times in ms
    since ZERO, 0 of the exchange: none yet."""
    table = pd.DataFrame(rows, columns=[*NAMES, "exch_timestamp", "local_timestamp"])
    for name in ("now_ns", "exch_timestamp", "local_timestamp"):
        table[name] = ((table[name] + ZERO) * 1_000_000).where(table[name] > 0, 0)
    table = table.assign(exec_price_tick=table["price_tick"], maker=table["price_tick"] > 0)
    quotes = pd.DataFrame({"now_ns": [(ZERO + t) * 1_000_000 for t in range(0, 4000, 50)]})
    quotes = quotes.assign(best_bid=100.0, best_ask=100.2)
    folder.mkdir()
    arrays = {"orders": table.to_records(index=False), "quotes": quotes.to_records(index=False)}
    np.savez(folder / "orders_X.npz", **arrays, tick_size=0.1)
    return folder


def read(folder: Path, rows: list[Row]) -> Tables:
    """The tables; the reader of logs has nothing to set aside in them."""
    made = recording(folder, rows)
    assert main([str(made), str(folder / "logs")]) == 0
    assert load_log(folder / "logs", "X").set_aside == ()
    (found,) = tables_of(made)
    return found


@pytest.mark.parametrize("seen", [True, False])
def test_a_new_price_counts_from_when_the_exchange_had_it(tmp_path: Path, seen: bool) -> None:
    # The engine shows it when it is asked for, where a poll falls in between.
    rows: list[Row] = [
        (1677, 48, -1, 1008, 1.0, 1.0, NEW, 0, 1675, 1672),
        (2073, 48, -1, 1007, 1.0, 1.0, NEW, REPLACE, 1675, 2072),
        (2077, 48, -1, 1007, 1.0, 1.0, NEW, 0, 2075, 2072),
        (2290, 48, -1, 1007, 1.0, 0.0, FILLED, 0, 2288, 2072),
    ]
    orders = read(tmp_path / "r", rows if seen else rows[:1] + rows[2:]).orders
    assert orders["action"].tolist() == ["PLACE", "AMEND"]
    assert orders["price"].tolist() == [100.8, 100.7]
    assert (orders["active_recv_ms"] - ZERO).tolist() == [1675, 2075]


def test_a_size_asked_for_after_a_partial_fill_is_what_is_left_from_then_on(tmp_path: Path) -> None:
    found = read(
        tmp_path / "r",
        [
            (736, 7, 1, 995, 1.0, 1.0, NEW, 0, 734, 731),
            (1132, 7, 1, 995, 1.0, 0.5, PARTIAL, 0, 1130, 1131),
            (1136, 7, 1, 996, 1.0, 1.0, NEW, 0, 1134, 1131),
            (1300, 7, 1, 996, 1.0, 0.7, PARTIAL, 0, 1298, 1131),
            (1400, 7, 1, 996, 0.4, 0.7, PARTIAL, REPLACE, 1298, 1399),
            (1404, 7, 1, 996, 0.4, 0.4, PARTIAL, 0, 1402, 1399),
            (1502, 7, 1, 996, 0.4, 0.0, FILLED, 0, 1500, 1399),
        ],
    )
    assert found.orders["qty"].tolist() == pytest.approx([1.0, 1.5, 1.2])
    assert found.fills["qty"].tolist() == pytest.approx([0.5, 0.3, 0.4])
    assert (found.fills["recv_ms"] - ZERO).tolist() == [1130, 1298, 1500]


def test_an_order_that_ended_as_its_new_price_would_cross_rested_until_then(tmp_path: Path) -> None:
    rows: list[Row] = [
        (928, 241, 1, 1000, 1.0, 1.0, NEW, 0, 928, 925),
        (1735, 241, 1, 1002, 1.0, 1.0, NEW, REPLACE, 928, 1734),
        (1739, 241, 1, 1002, 1.0, 1.0, EXPIRED, 0, 1737, 1734),
    ]
    orders = read(tmp_path / "r", rows).orders
    assert orders["action"].tolist() == ["PLACE", "EXPIRE"]
    assert orders["expire_recv_ms"].max() - ZERO == 1737


def test_an_id_is_another_order_though_only_its_end_was_seen(tmp_path: Path) -> None:
    rows: list[Row] = [
        (100, 5, 1, 1000, 1.0, 1.0, NEW, 0, 99, 98),
        (200, 5, 1, 1000, 1.0, 1.0, CANCELED, 0, 199, 198),
        (201, 5, 1, 1000, 1.0, 1.0, CANCELED, CANCEL, 199, 201),  # asked for once more
        (300, 5, 1, 1003, 1.0, 1.0, EXPIRED, 0, 299, 298),
        (400, 5, 1, 1000, 1.0, 1.0, NEW, 0, 399, 398),
    ]
    orders = read(tmp_path / "r", rows).orders
    assert orders["order_id"].tolist() == ["5", "5", "5#2", "5#3"]
    assert orders["status"].tolist()[2] == "REJECTED"


def test_market_orders_have_no_price_to_rest_at(tmp_path: Path) -> None:
    rows: list[Row] = [
        (100, 1, 1, 1000, 1.0, 1.0, NEW, 0, 99, 98),
        (200, 2, -1, 0, 1.0, 0.0, FILLED, 0, 199, 198),
    ]
    found = read(tmp_path / "r", rows)
    assert found.orders["order_id"].tolist() == ["1"]
    assert found.notes == ("1 orders that rest at no price (market, stop) are left out",)


@pytest.mark.parametrize(("trades", "said"), [(2, False), (1, False), (3, True)])
def test_the_recorders_trades_are_those_up_to_its_last_row(
    tmp_path: Path, trades: int, said: bool
) -> None:
    # With partial fills the engine counts what completes an order.
    rows: list[Row] = [
        (100, 1, 1, 1000, 1.0, 1.0, NEW, 0, 99, 98),
        (200, 1, 1, 1000, 1.0, 0.5, PARTIAL, 0, 199, 98),
        (300, 1, 1, 1000, 1.0, 0.0, FILLED, 0, 299, 98),
        (400, 2, 1, 1000, 1.0, 1.0, NEW, 0, 399, 398),
        (500, 2, 1, 1000, 1.0, 0.0, FILLED, 0, 499, 398),
    ]
    made = recording(tmp_path / "r", rows)
    report = np.zeros(1, [("timestamp", "i8"), ("num_trades", "i8")])
    report["timestamp"], report["num_trades"] = (ZERO + 450) * 1_000_000, trades
    np.savez(made / "recorder.npz", **{"0": report})
    (found,) = tables_of(made)
    notes = ("the Recorder counts 3 trades, the log has 2 by then",)
    assert found.notes == (notes if said else ())


def test_polls_that_come_too_late_are_said(tmp_path: Path) -> None:
    rows: list[Row] = [
        (100, 1, 1, 1000, 1.0, 1.0, NEW, 0, 99, 98),
        (200, 1, 1, 1000, 1.0, 0.0, FILLED, 0, 150, 98),
        (200, 2, 1, 1000, 1.0, 0.0, FILLED, 0, 150, 98),
    ]
    (note,) = read(tmp_path / "r", rows).notes
    assert note.startswith("1 orders were filled before they were seen to rest")
