"""Other engines' recordings: the same log told in their words gives the same tables, A and k."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.calibration import run_steps
from mm.convert import main
from mm.core.errors import InputError, SettingsError
from mm.core.settings import Settings
from mm.engines.recordings import tables_of
from mm.logs.load import load_log
from mm.pipeline.plan import Request, make_plan
from mm.simulate.engine import Scenario
from mm.simulate.log import simulate
from tests.support import recordings
from tests.support.recordings import Tables

TICK, GRID = 1.0, 0.1
SETTINGS = Settings.build({"SYMBOL": "AAA", "TICK_SIZE": TICK})
Write = Callable[[Path, Tables], Path]
WRITERS: dict[str, tuple[str, Write]] = {
    "nautilus events": ("nautilus", recordings.write_nautilus),
    "nautilus catalog": ("nautilus", recordings.write_catalog),
    "hftbacktest": ("hftbacktest", lambda p, t: recordings.write_hftbacktest(p, t, GRID)),
    "binance spot": ("binance", lambda p, t: recordings.write_binance(p, t, futures=False)),
    "binance USD-M": ("binance", lambda p, t: recordings.write_binance(p, t, futures=True)),
}


@pytest.fixture(scope="module")
def ours() -> Tables:
    """Two minutes with rejections, partial fills and amendments."""
    log = simulate(
        Scenario(A=1.0, k=0.4, duration_s=120.0, reject_share=0.05, partial_share=0.3), seed=5
    )
    rows = log.orders.astype({"order_id": "str"}).to_dict("records")
    fills = log.fills.astype({"order_id": "str"})
    filled = set(fills["order_id"])
    for row in list(rows):
        rests = row["status"] != "REJECTED" and row["order_id"] not in filled
        if row["action"] == "PLACE" and rests and row["recv_ms"] % 3 == 0:
            time, away = int(row["recv_ms"]) + 150, 1 if row["side"] == "SELL" else -1
            row = {**row, "recv_ms": time, "active_recv_ms": time, "action": "AMEND"}
            rows.append({**row, "price": row["price"] + away})
    orders = pd.DataFrame(rows).sort_values("recv_ms", kind="stable", ignore_index=True)
    return {"orders": orders, "fills": fills, "state": log.state}


def numbers(folder: Path, symbol: str) -> tuple[float, float, dict[str, int], dict[str, int]]:
    result = run_steps(load_log(folder, symbol), SETTINGS)
    emitted, found = result.estimate.emitted, result.accounts.reconciliation
    assert emitted is not None
    return emitted.A, emitted.k, dict(found.orders), dict(found.fill_rows)


def write_ours(folder: Path, tables: Tables) -> Path:
    folder.mkdir()
    for kind, table in tables.items():
        # An expiry stands in its own row in other engines, the books in none.
        table.drop(columns=["expire_recv_ms", "inventory", "cash", "mtm_value", "open_orders",
                            "cancel_req_ms", "reason"], errors="ignore").to_csv(
            folder / f"{kind}_AAA.csv", index=False
        )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", WRITERS)
def test_a_log_in_their_words_calibrates_alike(name: str, ours: Tables, tmp_path: Path) -> None:
    source, write = WRITERS[name]
    theirs = write(tmp_path / "theirs", ours)
    assert main(["--from", "auto", str(theirs), str(tmp_path / "auto"), "--symbols", "AAA"]) == 0
    assert main(["--from", source, str(theirs), str(tmp_path / "logs"), "--symbols", "AAA"]) == 0
    A, k, orders, fills = numbers(tmp_path / "logs", "AAA")
    expected = numbers(write_ours(tmp_path / "ours", ours), "AAA")
    assert (A, k) == pytest.approx(expected[:2], rel=1e-6)
    assert (orders, fills) == expected[2:]
    assert orders["ended by a new price"] > 10
    assert orders["rejected (no interval)"] > 3


def without_amendments(tables: Tables) -> Tables:
    orders = tables["orders"]
    return {**tables, "orders": orders[orders["action"] != "AMEND"].reset_index(drop=True)}


def test_reports_alone_are_read_and_what_they_lack_is_said(
    ours: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = without_amendments(ours)
    plain["orders"] = plain["orders"].assign(
        active_recv_ms=plain["orders"]["recv_ms"].where(plain["orders"]["action"] == "PLACE")
    )
    theirs = recordings.write_reports(tmp_path / "theirs", plain)
    assert main(["--from", "auto", str(theirs), str(tmp_path / "logs")]) == 0
    assert "before the venue accepted them" in capsys.readouterr().out
    found = numbers(tmp_path / "logs", recordings.INSTRUMENT)
    assert found[:2] == pytest.approx(numbers(write_ours(tmp_path / "o", plain), "AAA")[:2], 1e-6)


def test_a_mapping_names_columns_units_and_words(ours: Tables, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    orders = ours["orders"]
    pd.DataFrame(
        {
            "t": orders["recv_ms"] * 1000,
            "oid": orders["order_id"],
            "what": orders["action"].map({"PLACE": "new", "CANCEL_ACK": "gone", "AMEND": "moved"}),
            "dir": orders["side"].map({"BUY": "B", "SELL": "S"}),
            "px": orders["price"],
            "up": orders["active_recv_ms"] * 1000,
            "down": orders["cancel_effective_ms"] * 1000,
            "status": orders["status"],
        }
    ).dropna(subset=["what"]).to_csv(folder / "o.csv", index=False)
    fills = ours["fills"]
    pd.DataFrame({"t": fills["recv_ms"] * 1000, "oid": fills["order_id"]}).to_csv(
        folder / "f.csv", index=False
    )
    state = ours["state"]
    pd.DataFrame(
        {"t": state["recv_ms"] * 1000, "b": state["mid"] - 1, "a": state["mid"] + 1}
    ).to_csv(folder / "q.csv", index=False)
    mapping = tmp_path / "own.yaml"
    mapping.write_text(
        "symbol: AAA\nunit: us\n"
        "orders:\n  file: o.csv\n"
        "  columns: {recv_ms: t, order_id: oid, action: what, side: dir, price: px,\n"
        "            active_recv_ms: up, cancel_effective_ms: down}\n"
        "  words:\n    action: {new: PLACE, gone: CANCEL_ACK, moved: AMEND}\n"
        "    side: {B: BUY, S: SELL}\n"
        "fills: {file: f.csv, columns: {recv_ms: t, order_id: oid}}\n"
        "state: {file: q.csv, columns: {recv_ms: t, bid: b, ask: a}}\n"
    )
    assert main(["--from", str(mapping), str(folder), str(tmp_path / "logs")]) == 0
    found = numbers(tmp_path / "logs", "AAA")
    expected = numbers(write_ours(tmp_path / "ours", ours), "AAA")
    assert found[:2] == pytest.approx(expected[:2], rel=1e-9)


def test_a_takers_fill_ends_its_order_and_is_no_event(ours: Tables, tmp_path: Path) -> None:
    first = ours["fills"]["order_id"].iloc[0]
    taker = np.where(ours["fills"]["order_id"] == first, "TAKER", "MAKER")
    told = {**ours, "fills": ours["fills"].assign(liquidity=taker)}
    for name, (source, write) in WRITERS.items():
        theirs, logs = tmp_path / name / "theirs", tmp_path / name / "logs"
        theirs.parent.mkdir()
        assert (
            main(["--from", source, str(write(theirs, told)), str(logs), "--symbols", "AAA"]) == 0
        )
        assert numbers(logs, "AAA")[3]["as a taker"] == int((taker == "TAKER").sum()), name


def test_an_id_of_hftbacktest_that_is_used_again_is_another_order(
    ours: Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_hftbacktest(tmp_path / "theirs", without_amendments(ours), GRID)
    file = theirs / "orders_AAA.npz"
    found = dict(np.load(file))
    apart = tables_of(theirs, "hftbacktest")[0]
    orders = found["orders"].copy()
    ended = orders["order_id"][np.isin(orders["status"], (2, 3, 4))]
    early, late = ended[0], ended[-1]
    orders["order_id"][orders["order_id"] == late] = early
    np.savez_compressed(file, **{**found, "orders": orders})
    shared = tables_of(theirs, "hftbacktest")[0]
    assert f"{early}#2" in set(shared.orders["order_id"])
    renamed = shared.orders["order_id"].replace(f"{early}#2", str(late))
    assert renamed.tolist() == apart.orders["order_id"].tolist()


def test_no_mid_holds_while_nobody_listens_to_the_stream(ours: Tables, tmp_path: Path) -> None:
    theirs = recordings.write_binance(tmp_path / "theirs", ours, futures=True)
    file = theirs / "user_data.jsonl"
    lines = file.read_text().splitlines()
    times = [json.loads(line)["E"] for line in lines]
    middle = times[len(times) // 2]
    kept = [line for line, t in zip(lines, times, strict=True) if not middle < t < middle + 20_000]
    kept.append(json.dumps({"e": "listenKeyExpired", "E": middle}))
    file.write_text("\n".join(kept) + "\n")
    state = tables_of(theirs, "binance")[0].state["recv_ms"]
    back = min(t for t in times if t >= middle + 20_000)
    assert not state.between(middle, back, inclusive="neither").any()
    assert (state >= back).any()


def halved(folder: Path) -> None:
    file = folder / "user_data.jsonl"
    file.write_text(file.read_text()[:-40])


def in_ms(folder: Path) -> None:
    quotes = pd.read_csv(folder / "quotes.csv")
    quotes["ts_init"] //= 1_000_000
    quotes.to_csv(folder / "quotes.csv", index=False)


def without_column(folder: Path) -> None:
    table = pd.read_csv(folder / "order_events.csv").drop(columns="ts_init")
    table.to_csv(folder / "order_events.csv", index=False)


def not_zipped(folder: Path) -> None:
    with (folder / "orders_AAA.npz").open("wb") as file:
        np.save(file, np.arange(4))


def quote_without_a_bid(folder: Path) -> None:
    with (folder / "user_data.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"e": "bookTicker", "E": 1700000000000, "s": "AAA", "b": null, "a": "1"}\n')


def nobody_was_sent(folder: Path) -> None:
    pd.DataFrame({"id": [1], "placed_ms": [10**12]}).to_csv(folder / "placed.csv", index=False)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    file = folder / "orders_AAA.npz"
    file.write_bytes(file.read_bytes()[:500])


@pytest.mark.parametrize(
    ("name", "source", "damage", "says"),
    [
        ("binance USD-M", "binance", halved, "user_data.jsonl, row"),
        ("binance USD-M", "binance", halved, "half-written line"),
        ("binance spot", "binance", without("mids.csv"), "no quote, so no mid"),
        ("nautilus events", "nautilus", in_ms, "quotes.csv, row 2, column ts_init: a time in ms"),
        ("nautilus events", "nautilus", without_column, "order_events.csv: no column ts_init"),
        ("hftbacktest", "hftbacktest", not_zipped, "orders_AAA.npz: no npz"),
        ("binance spot", "binance", quote_without_a_bid, "a quote without a bid or an ask"),
        ("binance spot", "binance", nobody_was_sent, "placed.csv: no column order_id"),
        ("nautilus events", "nautilus", without("quotes.csv"), "no quote, so no mid"),
        ("nautilus events", "hftbacktest", None, "it looks like nautilus"),
        ("hftbacktest", "nautilus", None, "it looks like hftbacktest"),
        ("hftbacktest", "hftbacktest", cut, "orders_AAA.npz: no npz"),
        ("hftbacktest", "somebody", None, "no engine 'somebody'"),
        ("hftbacktest", "own.yaml", None, "own.yaml: can't be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    name: str,
    source: str,
    damage: Callable[[Path], None] | None,
    says: str,
    ours: Tables,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = WRITERS[name][1](tmp_path / "theirs", ours)
    if damage:
        damage(theirs)
    assert main(["--from", source, str(theirs), str(tmp_path / "logs")]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.glob("logs/*"))


def test_what_stands_there_is_kept(ours: Tables, tmp_path: Path) -> None:
    theirs = recordings.write_nautilus(tmp_path / "theirs", ours)
    arguments = [str(theirs), str(tmp_path / "logs")]
    assert main(arguments) == 0
    assert main(arguments) == 2


@pytest.mark.parametrize("name", WRITERS)
def test_a_batch_over_a_recording_names_the_command(
    name: str, ours: Tables, tmp_path: Path
) -> None:
    writer = WRITERS[name]
    theirs = writer[1](tmp_path / "theirs", ours)
    with pytest.raises(SettingsError, match=f"mm.convert --from {writer[0]} ") as refused:
        make_plan(Request(theirs, tmp_path / "out"), {})
    assert "\n" not in str(refused.value)


def test_two_engines_in_one_folder_need_a_name(ours: Tables, tmp_path: Path) -> None:
    theirs = recordings.write_nautilus(tmp_path / "theirs", ours)
    other = recordings.write_hftbacktest(tmp_path / "other", ours, GRID)
    shutil.copy(other / "orders_AAA.npz", theirs)
    with pytest.raises(InputError, match="looks like nautilus and hftbacktest"):
        tables_of(theirs)
