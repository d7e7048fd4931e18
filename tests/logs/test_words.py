"""Words of other venues, ends that nobody wrote, and recorders that are not at fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import mm
from mm.logs.load import log_from_frames
from mm.logs.words import is_plain, meaning, understood
from mm.simulate import Scenario, simulate

Tables = dict[str, pd.DataFrame]
#: Cancels, expiries and rejections all happen.
SCENARIO = Scenario(
    A=0.6,
    k=0.3,
    duration_s=240.0,
    deltas_ticks=(1.0, 3.0, 6.0),
    dwell_ms=4000,
    ttl_ms=3500,
    requote_ticks=3.0,
    reject_share=0.1,
)


@pytest.fixture
def tables() -> Tables:
    log = simulate(SCENARIO, 3)
    return {"orders": log.orders, "fills": log.fills, "state": log.state}


def calibrated(tables: Tables, **settings: Any) -> mm.Calibration:
    return mm.calibrate(
        tables["orders"], tables["fills"], tables["state"], **{"tick_size": 1.0, **settings}
    )


def of_rows(tables: Tables) -> Tables:
    """Only what rows say: no columns that hold an end, no count of open orders."""
    orders = tables["orders"].drop(columns=["cancel_effective_ms", "expire_recv_ms"])
    return {**tables, "orders": orders, "state": tables["state"][["recv_ms", "mid"]]}


def same(one: mm.Calibration, other: mm.Calibration) -> bool:
    fits = one.estimate.fit, other.estimate.fit
    assert all(fit is not None for fit in fits)
    return fits[0].A == fits[1].A and fits[0].k == fits[1].k  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("EXPIRED", "EXPIRE"),
        ("ORDER_EXPIRED", "EXPIRE"),
        ("CANCELED", "CANCEL_ACK"),
        ("CANCELLED", "CANCEL_ACK"),
        ("ORDERSTATUS.CANCELED", "CANCEL_ACK"),
        ("STP_CANCEL", "CANCEL_ACK"),
        ("CANCEL-CONFIRMED", "CANCEL_ACK"),
        ("PENDING_CANCEL", "CANCEL_REQ"),
        ("CANCEL_SUBMITTED", "CANCEL_REQ"),
        ("CANCELLING", "CANCEL_REQ"),
        ("REJECTED", "REJECT"),
        ("DENIED", "REJECT"),
        ("INACTIVE", "REJECT"),
        ("FILLED", "CLOSE_FILLED"),
        ("PARTIALLY FILLED", "FILL"),
        ("CANCEL_REJECTED", "CANCEL_REJECTED"),
        ("AMEND_REJECT", "AMEND_REJECT"),
        ("SKIP", "SKIP"),
        ("PING", "PING"),
    ],
)
def test_what_words_mean(word: str, meant: str) -> None:
    assert meaning(word) == meant


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("EXPIRE", "EXPIRED"), ("CANCEL_ACK", "CANCELED"), ("CANCEL_ACK", "Order Canceled")],
)
def test_an_end_in_another_word_is_the_same_end(tables: Tables, ours: str, theirs: str) -> None:
    right = of_rows(tables)
    orders = right["orders"].assign(action=right["orders"]["action"].replace(ours, theirs))
    result = calibrated({**right, "orders": orders})
    assert same(result, calibrated(right))
    assert any(f"as {ours}" in f.what for f in result.verdict.notes)


def test_cancel_is_a_request_where_another_word_tells_of_its_end(tables: Tables) -> None:
    right = of_rows(tables)
    action = right["orders"]["action"]
    both = right["orders"].assign(action=action.replace("CANCEL_REQ", "CANCEL"))
    assert same(calibrated({**right, "orders": both}), calibrated(right))
    alone = right["orders"][action != "CANCEL_REQ"]
    alone = alone.assign(action=alone["action"].replace("CANCEL_ACK", "CANCEL"))
    assert same(calibrated({**right, "orders": alone}), calibrated(right))


def rejection(orders: pd.DataFrame, how: str) -> pd.DataFrame:
    """The rejected placements of an orders file told in another way."""
    rejected = (orders["status"] == "REJECTED") & (orders["action"] == "PLACE")
    assert rejected.sum() > 20
    if how.startswith("status"):
        return orders.assign(status=orders["status"].mask(rejected, how.split()[1]))
    opened = orders.assign(status=orders["status"].mask(rejected, "OPEN"))
    later = orders[rejected].assign(recv_ms=orders["recv_ms"] + 50)
    later = later.assign(action=how.split()[0], status=how.split()[1])
    return pd.concat([opened, later]).sort_values("recv_ms", kind="stable", ignore_index=True)


@pytest.mark.parametrize(
    "how",
    [
        *("status REJECT", "status DENIED", "status INACTIVE"),
        *("PLACE REJECTED", "PLACE DENIED", "REJECT OPEN", "REJECTED OPEN", "UPDATE REJECTED"),
    ],
)
def test_a_rejected_order_never_rests_however_it_is_told(tables: Tables, how: str) -> None:
    right = of_rows(tables)
    other = {**right, "orders": rejection(right["orders"], how)}
    result = calibrated(other)
    assert same(result, calibrated(right))
    assert not is_plain(other["orders"]) or how == "PLACE REJECTED"


def test_a_cancel_that_was_turned_down_ends_nothing(tables: Tables) -> None:
    right = of_rows(tables)
    asked = right["orders"][right["orders"]["action"] == "CANCEL_REQ"]
    for action, status in (("CANCEL_REJECTED", ""), ("REJECT", ""), ("UPDATE", "CANCEL_REJECTED")):
        more = asked.assign(action=action, status=status)
        orders = pd.concat([right["orders"], more]).sort_values("recv_ms", kind="stable")
        assert same(
            calibrated({**right, "orders": orders.reset_index(drop=True)}), calibrated(right)
        )


def test_orders_that_no_row_ends_are_refused_with_the_word(tables: Tables) -> None:
    right = of_rows(tables)
    assert not any(f.code == "never_ended" for f in calibrated(right).verdict.findings)
    for word, named in (("GONE", True), (None, False)):
        action = right["orders"]["action"]
        orders = right["orders"].assign(
            action=action.replace("EXPIRE", word or ""),
            status=right["orders"]["status"].replace("EXPIRED", ""),
        )
        orders = orders[orders["action"] != ""].reset_index(drop=True)
        result = calibrated({**right, "orders": orders})
        (found,) = (f for f in result.verdict.reasons if f.code == "never_ended")
        assert found.level == "refused"
        assert ("action GONE" in found.cause) == named
        assert result.params is None


def test_a_few_quotes_that_rest_to_the_end_on_purpose_are_none(tables: Tables) -> None:
    """Far from mid, placed at the start: most of the time that orders rest is theirs."""
    right = of_rows(tables)
    first = right["orders"].iloc[0]
    far = [
        {**first, "order_id": f"far{side}{n}", "action": "PLACE", "status": "OPEN", "side": side}
        | {"price": right["state"]["mid"].iloc[0] + sign * (40 + n)}
        for n in range(6)
        for side, sign in (("BUY", -1), ("SELL", 1))
    ]
    orders = pd.concat([pd.DataFrame(far), right["orders"]], ignore_index=True)
    verdict = calibrated({**right, "orders": orders}).verdict
    (found,) = (f for f in verdict.findings if f.code == "never_ended")
    assert found.level == "warn"
    assert found.number is not None
    assert found.number > 0.3


def test_sides_as_letters_or_signs(tables: Tables) -> None:
    right = calibrated(tables)
    for buy, sell in (("B", "S"), ("bid", "ask"), ("1", "-1")):
        words = {"BUY": buy, "SELL": sell}
        changed = {
            kind: tables[kind].assign(side=tables[kind]["side"].replace(words))
            for kind in ("orders", "fills")
        }
        assert same(calibrated({**tables, **changed}), right)
    table = pd.DataFrame({"side": ["1", "0"]})
    assert understood(table)[0].equals(table), "either may be BUY"


def test_prices_in_float32_are_the_decimals_they_show(tables: Tables) -> None:
    right = calibrated(tables, tick_size=None)
    small = {
        kind: table.astype({name: "float32" for name in ("price", "mid") if name in table.columns})
        for kind, table in tables.items()
    }
    result = calibrated(small, tick_size=None)
    assert same(result, right)
    assert any("float32" in f.what for f in result.verdict.notes)


def test_a_market_that_can_be_negative(tables: Tables) -> None:
    """Distances need no positive price: the log of a spread around zero gives the same."""
    shift = float(np.round(tables["state"]["mid"].median()))
    moved = {
        "orders": tables["orders"].assign(price=tables["orders"]["price"] - shift),
        "fills": tables["fills"].assign(price=tables["fills"]["price"] - shift),
        "state": tables["state"][["recv_ms", "mid"]].assign(mid=lambda t: t["mid"] - shift),
    }
    result = calibrated(moved)
    right = calibrated({**tables, "state": tables["state"][["recv_ms", "mid"]]})
    assert result.estimate.n_events == right.estimate.n_events
    assert result.estimate.candidates.keys() == right.estimate.candidates.keys()
    for name, one in result.estimate.candidates.items():
        other = right.estimate.candidates[name]
        np.testing.assert_allclose((one.A, one.k), (other.A, other.k), rtol=1e-6)
    assert result.verdict.status == right.verdict.status


def test_a_clock_that_is_set_back_is_no_second_run(tables: Tables) -> None:
    middle = int(tables["state"]["recv_ms"].iloc[1200])
    late = {
        kind: table.assign(recv_ms=table["recv_ms"] + np.where(table["recv_ms"] < middle, 200, 0))
        for kind, table in of_rows(tables).items()
    }
    log = log_from_frames([(late["orders"], late["fills"], late["state"])])
    assert not log.runs[0].appended
    assert any("time goes backwards" in text for text in log.runs[0].warnings)
    assert calibrated(late).verdict.status == calibrated(of_rows(tables)).verdict.status


def test_one_run_cut_into_folders_is_said(tables: Tables) -> None:
    right = of_rows(tables)
    cuts = range(int(right["state"]["recv_ms"].iloc[0]) + 10_000, 2**62, 10_000)
    pieces: dict[str, list[pd.DataFrame]] = {kind: [] for kind in right}
    for cut in cuts:
        for kind, table in right.items():
            inside = (table["recv_ms"] >= cut - 10_000) & (table["recv_ms"] < cut)
            pieces[kind].append(table[inside].reset_index(drop=True))
        if cut > right["state"]["recv_ms"].iloc[-1]:
            break
    result = mm.calibrate(pieces["orders"], pieces["fills"], pieces["state"], tick_size=1.0)
    (found,) = (f for f in result.verdict.findings if f.code == "cut_runs")
    assert found.level == "warn"
    assert found.number is not None
    assert 0.01 < found.number < 0.5
