"""Payloads as Binance documents them: spot and USD-M user data streams, in all their wrappers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mm.convert import main
from mm.engines.events import Tables
from mm.engines.recordings import tables_of

ZERO = 1_700_000_000_000  # ms
Message = dict[str, Any]


def spot(time: int, x: str, X: str, **changed: Any) -> Message:
    """developers.binance.com, spot: user data streams, order update."""
    return {
        "e": "executionReport", "E": ZERO + time + 1, "s": "ETHBTC", "c": "mUvoqJxFIILMdfAW5iGSOW",
        "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "1.00000000", "p": "0.10264410",
        "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": x, "X": X, "r": "NONE",
        "i": 4293153, "l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0", "N": None,
        "T": ZERO + time, "t": -1, "v": 3, "I": 8641984, "w": True, "m": False, "M": False,
        "O": ZERO, "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000", "W": ZERO,
        "V": "NONE", **changed,
    }  # fmt: skip


def futures(time: int, x: str, X: str, **changed: Any) -> Message:
    """developers.binance.com, USD-M futures: event order update."""
    order = {
        "s": "BTCUSDT", "c": "TEST", "S": "SELL", "o": "LIMIT", "f": "GTX", "q": "0.001",
        "p": "9910", "ap": "0", "sp": "0", "x": x, "X": X, "i": 8886774, "l": "0", "z": "0",
        "L": "0", "T": ZERO + time, "t": 0, "b": "0", "a": "9.91", "m": False, "R": False,
        "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH", "cp": False, "rp": "0", "pP": False,
        "si": 0, "ss": 0, "V": "EXPIRE_MAKER", "pm": "NONE", "gtd": 0, "er": "0", **changed,
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": ZERO + time + 2, "T": ZERO + time, "o": order}


def trade(size: str, number: int, **more: Any) -> Message:
    return {"l": size, "L": "9910", "t": number, "m": True, "n": "0.001", "N": "USDT", **more}


def read(folder: Path, messages: list[Message]) -> Tables:
    """The tables of the messages with mids beside them."""
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    (folder / "user.jsonl").write_text(lines, encoding="utf-8")
    mids = pd.DataFrame({"recv_ms": range(ZERO, ZERO + 1000, 100), "mid": 1.0})
    mids.to_csv(folder / "mids.csv", index=False)
    (found,) = tables_of(folder, "binance")
    return found


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda message: message,
        lambda message: {"stream": "pqia91ma19a5s61cv6a81va65sdf19v8a65a1", "data": message},
        lambda message: {"subscriptionId": 0, "event": message},
    ],
)
@pytest.mark.parametrize(
    ("kind", "changed_by"), [(spot, "REPLACED"), (futures, "AMENDMENT")], ids=["spot", "futures"]
)
def test_an_order_placed_amended_filled_in_part_and_cancelled(
    tmp_path: Path, kind: Any, changed_by: str, wrapped: Any
) -> None:
    found = read(
        tmp_path / "r",
        [
            wrapped(kind(10, "NEW", "NEW")),
            wrapped(kind(20, changed_by, "NEW", q="0.8", p="9911")),
            wrapped(kind(30, "TRADE", "PARTIALLY_FILLED", q="0.8", p="9911", **trade("0.3", 12))),
            wrapped({"e": "TRADE_LITE", "E": ZERO + 33, "T": ZERO + 30, "s": "BTCUSDT", "t": 12}),
            wrapped(kind(30, "TRADE", "PARTIALLY_FILLED", q="0.8", p="9911", **trade("0.3", 13))),
            wrapped(kind(90, "CANCELED", "CANCELED", q="0.8", p="9911", C="other")),
            {"id": "187", "status": 200, "result": {"subscriptionId": 0}},
        ],
    )
    orders = found.orders
    assert orders["action"].tolist() == ["PLACE", "AMEND", "CANCEL_ACK"]
    assert (orders["active_recv_ms"].dropna() - ZERO).tolist() == [10, 20]
    assert orders["price"].tolist()[1] == 9911.0
    assert orders["cancel_effective_ms"].max() == ZERO + 90
    assert found.fills["qty"].tolist() == [0.3, 0.3]
    assert set(found.fills["liquidity"]) == {"MAKER"}


def test_a_trade_that_two_connections_heard_counts_once(tmp_path: Path) -> None:
    messages = [futures(1, "NEW", "NEW"), futures(2, "TRADE", "FILLED", **trade("0.001", 7))]
    assert len(read(tmp_path / "r", messages * 2).fills) == 1


def test_a_prevented_trade_ends_an_order_only_where_it_says_so(tmp_path: Path) -> None:
    messages = [spot(1, "NEW", "NEW"), spot(2, "TRADE_PREVENTION", "PARTIALLY_FILLED")]
    assert read(tmp_path / "r", messages).orders["action"].tolist() == ["PLACE"]
    messages.append(spot(3, "TRADE_PREVENTION", "EXPIRED_IN_MATCH"))
    orders = read(tmp_path / "r", messages).orders
    assert orders["expire_recv_ms"].max() == ZERO + 3


def test_stops_are_left_out_though_they_become_limit_orders(tmp_path: Path) -> None:
    found = read(
        tmp_path / "r",
        [
            futures(1, "NEW", "NEW"),
            futures(1, "NEW", "NEW", i=2, o="STOP", ot="STOP", sp="9900"),
            futures(5, "EXPIRED", "EXPIRED", i=2, o="STOP", ot="STOP", er="8"),
            futures(5, "NEW", "NEW", i=2, o="LIMIT", ot="STOP"),
            futures(6, "TRADE", "FILLED", i=2, ot="STOP", **trade("0.001", 7)),
        ],
    )
    assert found.orders["order_id"].tolist() == ["8886774"]
    assert found.fills.empty
    assert "1 orders that rest at no price" in found.notes[0]


def test_times_are_ms_or_us_and_others_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """timeUnit=MICROSECOND."""

    def finer(message: Message, by: int) -> Message:
        return message | {name: message[name] * by for name in ("E", "T", "O", "W")}

    messages = [spot(10, "NEW", "NEW"), spot(90, "CANCELED", "CANCELED")]
    expected = read(tmp_path / "ms", messages)
    found = read(tmp_path / "us", [finer(message, 1000) for message in messages])
    pd.testing.assert_frame_equal(found.orders, expected.orders)
    later = finer(spot(95, "NEW", "NEW", i=3), 1_000_000)
    (tmp_path / "us" / "later.jsonl").write_text(json.dumps(later), encoding="utf-8")
    assert main(["--from", "binance", str(tmp_path / "us"), str(tmp_path / "logs")]) == 1
    said = capsys.readouterr().err
    assert "later.jsonl, row 1: no time in ms or us (1700000000095" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def test_orders_are_sent_under_the_clients_own_ids(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    sent = pd.DataFrame({"client_order_id": ["mUvoqJxFIILMdfAW5iGSOW"], "placed_ms": [ZERO + 4]})
    sent.to_csv(folder / "sent.csv", index=False)
    assert read(folder, [spot(10, "NEW", "NEW")]).orders["recv_ms"].tolist() == [ZERO + 4]
