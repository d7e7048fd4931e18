"""A log told in another engine's files comes back as the log that it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mm
from mm.convert import main
from mm.core.errors import InputError
from mm.engines.recordings import tables_of
from mm.logs.load import load_log
from mm.simulate import Scenario, simulate

SCENARIO = Scenario(A=1.0, k=0.3, duration_s=300.0, ttl_ms=3500, reject_share=0.03)
TICK = 0.1
Log = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def log() -> Log:
    made = simulate(SCENARIO, 3)
    ends = made.orders.groupby("order_id")["expire_recv_ms"].transform("min")
    # Without what these engines do not tell.
    orders = made.orders[made.orders["action"].isin(["PLACE", "CANCEL_ACK", "EXPIRE"])]
    orders = orders.assign(expire_recv_ms=ends.where(orders["action"] == "EXPIRE"))
    return {
        "orders": orders.reset_index(drop=True),
        "fills": made.fills,
        "state": made.state[["recv_ms", "mid"]],
    }


def fitted(orders: pd.DataFrame, fills: pd.DataFrame, state: pd.DataFrame) -> tuple[float, ...]:
    times = ["active_recv_ms", "expire_recv_ms", "cancel_effective_ms"]
    orders = orders.astype(dict.fromkeys(times, "float64"))
    result = mm.calibrate(orders, fills, state, tick_size=1.0)
    fit = result.estimate.fit
    assert fit is not None
    return fit.A, fit.k, float(result.estimate.n_events)


def truth(log: Log) -> tuple[float, ...]:
    return fitted(log["orders"], log["fills"].drop(columns="reason"), log["state"])


def nautilus(folder: Path, log: Log) -> Path:
    """Order events and quotes as its users write them."""
    orders, fills = log["orders"], log["fills"]
    placed = orders[orders["action"] == "PLACE"]
    base = {"instrument_id": "X.SIM", "client_order_id": "order_id"}

    def events(kind: str, rows: pd.DataFrame, time: str, **more: Any) -> pd.DataFrame:
        at = rows[time].astype("int64") * 1_000_000
        made = pd.DataFrame({"type": kind, "ts_event": at, "ts_init": at, **more}, index=rows.index)
        made["client_order_id"] = rows[base["client_order_id"]]
        return made.assign(instrument_id=base["instrument_id"])

    taken = placed[placed["status"] != "REJECTED"]
    refused = placed[placed["status"] == "REJECTED"]
    terms = {"order_side": placed["side"], "price": placed["price"], "quantity": placed["qty"]}
    of_fill = {
        "order_side": fills["side"],
        "last_px": fills["price"],
        "last_qty": fills["qty"],
        "liquidity_side": "MAKER",
        "commission": "0.01 USDT",
    }
    cancels = orders[orders["action"] == "CANCEL_ACK"]
    expired = orders[(orders["action"] == "EXPIRE")]
    ends = expired.assign(at=expired["expire_recv_ms"].fillna(expired["recv_ms"]))
    parts = [
        events("OrderInitialized", placed, "recv_ms", **terms),
        events("OrderAccepted", taken, "active_recv_ms"),
        events("OrderDenied", refused, "recv_ms", reason="post only"),
        events("OrderFilled", fills, "recv_ms", **of_fill),
        events("OrderCanceled", cancels, "cancel_effective_ms"),
        events("OrderExpired", ends, "at"),
    ]
    folder.mkdir()
    whole = pd.concat(parts).sort_values("ts_event", kind="stable")
    whole.to_csv(folder / "order_events.csv", index=False)
    state = log["state"]
    quotes = pd.DataFrame(
        {
            "ts_init": state["recv_ms"] * 1_000_000,
            "bid_price": state["mid"] - 0.05,
            "ask_price": state["mid"] + 0.05,
        }
    )
    quotes.to_csv(folder / "quotes.csv", index=False)
    return folder


def hftbacktest(folder: Path, log: Log) -> Path:
    """The npz of a logger: a row for each change of an order."""
    orders, fills = log["orders"], log["fills"]
    ends = {row.order_id: row for row in orders[orders["action"] != "PLACE"].itertuples()}
    numbers = {name: n for n, name in enumerate(orders["order_id"].unique(), start=1)}
    rows = []
    for order in orders[orders["action"] == "PLACE"].itertuples():
        sent = int(order.recv_ms) * 1_000_000
        side = 1 if order.side == "BUY" else -1
        terms = (numbers[order.order_id], side, round(order.price / TICK), order.qty)
        left = float(str(order.qty))

        def add(
            at: int, status: int, leaves: float, req: int = 0, terms: Any = terms, sent: int = sent
        ) -> None:
            rows.append((at, *terms, leaves, status, req, at if status else 0, sent))

        add(sent, 0, left, 1)
        if order.status == "REJECTED":
            add(sent + 10, 2, left)
            continue
        add(int(order.active_recv_ms) * 1_000_000, 1, left)
        of_order = fills[fills["order_id"] == order.order_id]
        for number, fill in enumerate(of_order.itertuples()):
            last = number == len(of_order) - 1
            left = 0.0 if last else max(float(left) - float(str(fill.qty)), 0.0)
            add(int(fill.recv_ms) * 1_000_000 + number, 5 if left > 0 else 3, left)
        end = ends.get(order.order_id)
        if end is not None and not len(of_order):
            cancelled = end.action == "CANCEL_ACK"
            at = end.cancel_effective_ms if cancelled else end.expire_recv_ms
            at = end.recv_ms if np.isnan(at) else at
            add(int(at) * 1_000_000, 4 if cancelled else 2, left)
    names = ["now_ns", "order_id", "side", "price_tick", "qty", "leaves_qty", "status", "req"]
    kinds = ["i8", "u8", "i1", "i8", "f8", "f8", "u1", "u1", "i8", "i8"]
    dtype = np.dtype(list(zip([*names, "exch_timestamp", "local_timestamp"], kinds, strict=True)))
    state = log["state"]
    quotes = np.zeros(len(state), [("now_ns", "i8"), ("best_bid", "f8"), ("best_ask", "f8")])
    quotes["now_ns"] = state["recv_ms"] * 1_000_000
    quotes["best_bid"], quotes["best_ask"] = state["mid"] - 0.05, state["mid"] + 0.05
    folder.mkdir()
    table = np.array(sorted(rows, key=lambda row: row[0]), dtype=dtype)
    np.savez(folder / "orders_X.npz", orders=table, quotes=quotes, tick_size=TICK)
    return folder


WRITERS: dict[str, Callable[[Path, Log], Path]] = {
    "nautilus": nautilus,
    "hftbacktest": hftbacktest,
}


@pytest.mark.parametrize("engine", WRITERS)
def test_the_numbers_are_those_of_the_log(tmp_path: Path, log: Log, engine: str) -> None:
    (made,) = tables_of(WRITERS[engine](tmp_path / "r", log))
    assert made.orders["order_id"].nunique() == log["orders"]["order_id"].nunique()
    rejected = (log["orders"]["status"] == "REJECTED").sum()
    assert (made.orders["status"] == "REJECTED").sum() == rejected > 0
    fills = made.fills.drop(columns=["fee", "liquidity"])
    found = fitted(made.orders, fills, made.state)
    assert found[2] == truth(log)[2]
    np.testing.assert_allclose(found[:2], truth(log)[:2], rtol=1e-6)


@pytest.mark.parametrize("engine", WRITERS)
def test_the_command_writes_a_log(
    tmp_path: Path, log: Log, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = WRITERS[engine](tmp_path / "r", log)
    out = tmp_path / "out"
    assert main(["--from", engine, str(recording), str(out), "--symbols", "XYZ"]) == 0
    assert "XYZ: " in capsys.readouterr().out
    read = load_log(out, "XYZ")
    assert len(read.runs[0].fills) > 100
    assert not read.set_aside
    assert main([str(recording), str(out), "--symbols", "XYZ"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_another_engine_named_is_one_line(
    tmp_path: Path, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = nautilus(tmp_path / "r", log)
    assert main(["--from", "hftbacktest", str(recording), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "not what hftbacktest writes; it looks like nautilus" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_takers_are_no_events(tmp_path: Path, log: Log) -> None:
    recording = nautilus(tmp_path / "r", log)
    events = pd.read_csv(recording / "order_events.csv")
    filled = events["type"] == "OrderFilled"
    took = events.loc[filled, "client_order_id"].unique()[:40]
    events.loc[filled & events["client_order_id"].isin(took), "liquidity_side"] = "TAKER"
    events.to_csv(recording / "order_events.csv", index=False)
    (made,) = tables_of(recording)
    found = fitted(made.orders, made.fills, made.state)
    assert truth(log)[2] - found[2] == 40


def test_another_unit_of_time_names_its_row(tmp_path: Path, log: Log) -> None:
    recording = nautilus(tmp_path / "r", log)
    quotes = pd.read_csv(recording / "quotes.csv")
    quotes["ts_init"] = np.where(quotes.index == 7, quotes["ts_init"] // 10**6, quotes["ts_init"])
    quotes.to_csv(recording / "quotes.csv", index=False)
    with pytest.raises(InputError, match="row 9, column ts_init: a time in ms, where ns"):
        tables_of(recording)


def test_reports_alone_say_what_they_lose(tmp_path: Path, log: Log) -> None:
    recording = nautilus(tmp_path / "r", log)
    (recording / "order_events.csv").unlink()
    with pytest.raises(InputError, match="of no engine that is known"):
        tables_of(recording)
    placed = log["orders"][log["orders"]["action"] == "PLACE"].reset_index(drop=True)
    report = pd.DataFrame(
        {
            "client_order_id": placed["order_id"],
            "instrument_id": "X.SIM",
            "side": placed["side"],
            "price": placed["price"],
            "quantity": placed["qty"],
            "filled_qty": 0.0,
            "status": np.where(placed["status"] == "REJECTED", "REJECTED", "CANCELED"),
            "ts_init": placed["recv_ms"] * 1_000_000,
            "ts_last": placed["recv_ms"] * 1_000_000 + 10**9,
        }
    )
    report.to_csv(recording / "orders_report.csv", index=False)
    (made,) = tables_of(recording)
    assert any("before the venue accepted them" in note for note in made.notes)
    report.assign(filled_qty=1.0).to_csv(recording / "orders_report.csv", index=False)
    with pytest.raises(InputError, match="no fills_report"):
        tables_of(recording)
