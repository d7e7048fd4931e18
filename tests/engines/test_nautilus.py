"""What nautilus_trader 1.221 and 1.231 leave on disk, in all the ways in which users write it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm.convert import main
from mm.core.errors import InputError
from mm.engines.events import Tables
from mm.engines.recordings import tables_of
from mm.simulate import Scenario, simulate
from tests.support import recordings


@pytest.fixture(scope="module")
def ours() -> recordings.Tables:
    log = simulate(Scenario(A=1.0, k=0.4, duration_s=20.0, reject_share=0.1), seed=5)
    orders = log.orders.astype({"order_id": "str"})
    return {
        "orders": orders,
        "fills": log.fills.astype({"order_id": "str"}),
        "state": log.state,
    }


def as_stream(catalog: Path) -> None:
    """As StreamingConfig writes it: an Arrow stream a type, <type>_0.feather, quotes by
    instrument; there is a file of each type, though nothing of it happened."""
    stream = catalog / "backtest" / "4825f085"
    for file in sorted(catalog.rglob("*.parquet")):
        kind = file.parent.parent.name
        name = f"{kind}_0" if kind != "quote_tick" else f"quote_tick/{file.parent.name}/X_17"
        target = stream / f"{name}.feather"
        target.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(file, partitioning=None)
        with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table)
    nothing = pa.schema([("client_order_id", pa.string()), ("ts_init", pa.uint64())])
    with pa.OSFile(str(stream / "order_released_0.feather"), "wb") as sink:
        pa.ipc.new_stream(sink, nothing).close()


def as_stream_alone(catalog: Path) -> None:
    as_stream(catalog)
    shutil.rmtree(catalog / "data")


def as_converted_stream(catalog: Path) -> None:
    """convert_stream_to_data names no instrument: data/order_filled/<times>.parquet."""
    for file in sorted(catalog.rglob("order_*/*/*.parquet")):
        file.rename(file.parent.parent / "t0_t1.parquet")


@pytest.mark.parametrize("written", [as_stream, as_stream_alone, as_converted_stream])
def test_streams_and_catalogs_tell_the_same(
    written: Callable[[Path], None], ours: recordings.Tables, tmp_path: Path
) -> None:
    (expected,) = tables_of(recordings.write_nautilus(tmp_path / "csv", ours))
    catalog = recordings.write_catalog(tmp_path / "catalog", ours)
    written(catalog)
    (found,) = tables_of(catalog, "nautilus")
    assert_same(found, expected)


def assert_same(found: Tables, expected: Tables) -> None:
    """The same rows; types of one ms may come in another order."""
    for name in ("orders", "fills", "state"):
        keys = ["recv_ms"] if name == "state" else ["recv_ms", "order_id"]
        left, right = (
            getattr(one, name).sort_values(keys, kind="stable", ignore_index=True)
            for one in (found, expected)
        )
        pd.testing.assert_frame_equal(left, right, check_dtype=False)


def test_two_runs_in_one_folder_are_one_line(ours: recordings.Tables, tmp_path: Path) -> None:
    theirs = recordings.write_nautilus(tmp_path / "theirs", ours)
    events = pd.read_csv(theirs / "order_events.csv")
    events.assign(event_id="f" + events["event_id"]).to_csv(theirs / "more.csv", index=False)
    with pytest.raises(InputError, match=r"orders are placed and accepted twice .*two runs"):
        tables_of(theirs)


def test_reports_as_parquet_keep_their_ids_in_the_index(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_reports(tmp_path / "theirs", ours)
    (expected,) = tables_of(theirs)
    for file in sorted(theirs.glob("*_report.csv")):
        report = pd.read_csv(file, dtype={"client_order_id": "str"})
        report.set_index("client_order_id").to_parquet(file.with_suffix(".parquet"))
        file.unlink()
    (found,) = tables_of(theirs)
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("column", "usual", "other"),
    [("order_type", "LIMIT", "STOP_LIMIT"), ("emulation_trigger", "NO_TRIGGER", "BID_ASK")],
)
def test_what_waits_for_a_trigger_rests_at_no_price(
    column: str, usual: str, other: str, ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_nautilus(tmp_path / "theirs", ours)
    events = pd.read_csv(theirs / "order_events.csv", dtype={"client_order_id": "str"})
    placed = events["type"] == "OrderInitialized"
    stop = events["client_order_id"] == events.loc[placed, "client_order_id"].iloc[3]
    events.loc[placed, column] = usual
    events.loc[placed & stop, column] = other
    events.to_csv(theirs / "order_events.csv", index=False)
    (found,) = tables_of(theirs)
    assert found.orders["order_id"].nunique() == events["client_order_id"].nunique() - 1
    assert "1 orders that rest at no price" in found.notes[0]


def test_pairs_with_a_slash_are_named_as_in_a_catalog(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_nautilus(tmp_path / "theirs", ours)
    events = pd.read_csv(theirs / "order_events.csv")
    events.assign(instrument_id="EUR/USD.SIM").to_csv(theirs / "order_events.csv", index=False)
    assert main([str(theirs), str(tmp_path / "logs")]) == 0
    assert (tmp_path / "logs" / "orders_EURUSD.SIM.parquet").exists()


def test_quotes_of_several_instruments_in_one_file_are_kept_apart(
    ours: recordings.Tables, tmp_path: Path
) -> None:
    theirs = recordings.write_nautilus(tmp_path / "theirs", ours)
    (alone,) = tables_of(theirs)
    for name in ("order_events", "quotes"):
        table = pd.read_csv(theirs / f"{name}.csv")
        other = table.assign(instrument_id="BBB.SIM")
        if name == "quotes":
            other = other.assign(bid=table["bid"] * 2, ask=table["ask"] * 2)
        else:
            other = other.assign(event_id="b" + table["event_id"])
            other["client_order_id"] = "b" + table["client_order_id"].astype("str")
        both = pd.concat([table.assign(instrument_id=recordings.INSTRUMENT), other])
        both.to_csv(theirs / f"{name}.csv", index=False)
    first, second = tables_of(theirs)
    assert (first.symbol, second.symbol) == (recordings.INSTRUMENT, "BBB.SIM")
    assert [one.symbol for one in tables_of(theirs, "nautilus", "BBB.SIM")] == ["BBB.SIM"]
    with pytest.raises(InputError, match=r"no orders of C \(found: AAA.SIM, BBB.SIM"):
        tables_of(theirs, "nautilus", "BBB.SIM,C")
    pd.testing.assert_frame_equal(first.state, alone.state)
    assert second.state["mid"].tolist() == (alone.state["mid"] * 2).tolist()
