"""Loading: every form a log comes in, and every way a file can be broken."""

from __future__ import annotations

import gzip
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mm
from mm.core.errors import CalibrationError, InputError
from mm.logs.load import BacktestLog, load_log, log_from_frames
from mm.simulate.write import csv_bytes

Tables = dict[str, pd.DataFrame]
WriteRun = Callable[..., Path]
KINDS = ("orders", "fills", "state")


@pytest.fixture
def folder(tmp_path: Path, tables: Tables, write_run: WriteRun) -> Path:
    """A good run of AAA as csv, to be broken."""
    return write_run(tmp_path / "run", tables)


def assert_same(one: BacktestLog, other: BacktestLog) -> None:
    assert len(one.runs) == len(other.runs)
    for a, b in zip(one.runs, other.runs, strict=True):
        for kind in KINDS:
            pd.testing.assert_frame_equal(
                getattr(a, kind), getattr(b, kind), check_dtype=False, check_exact=True
            )
        assert a.end_ms == b.end_ms


def error_of(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_log(folder, "AAA")
    text = str(error.value)
    assert "\n" not in text
    assert error.value.remedy
    assert text.endswith(error.value.remedy)
    return text


def edit(path: Path, line: int, change: Callable[[list[str]], list[str]]) -> None:
    """Change the cells of one line of a csv, the header being line 1."""
    lines = path.read_text().split("\n")
    lines[line - 1] = ",".join(change(lines[line - 1].split(",")))
    path.write_text("\n".join(lines))


def put(column: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda cells: [*cells[:column], text, *cells[column + 1 :]]


# --- good logs in every form -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_other_formats_give_the_same_log(
    folder: Path, tmp_path: Path, tables: Tables, write_run: WriteRun, suffix: str
) -> None:
    other = write_run(tmp_path / "other", tables, suffix=suffix)
    assert_same(load_log(folder, "AAA"), load_log(other, "AAA"))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n\n",
    ],
    ids=["bom", "crlf", "no-newline-at-end", "blank-lines-at-end"],
)
def test_harmless_differences_of_text_change_nothing(
    folder: Path, change: Callable[[bytes], bytes]
) -> None:
    expected = load_log(folder, "AAA")
    for kind in KINDS:
        path = folder / f"{kind}_AAA.csv"
        path.write_bytes(change(path.read_bytes()))
    found = load_log(folder, "AAA")
    assert_same(found, expected)
    assert found.set_aside == ()


def test_columns_in_any_order_with_unknown_ones_and_without_optional_ones(
    folder: Path, tables: Tables
) -> None:
    orders = tables["orders"][["price", "side", "action", "order_id", "recv_ms"]]
    orders = orders.assign(comment="x, y")
    orders.to_csv(folder / "orders_AAA.csv", index=False)
    log = load_log(folder, "AAA")
    assert log.set_aside == ()
    pd.testing.assert_series_equal(
        log.runs[0].orders["price"], tables["orders"]["price"], check_dtype=False
    )


@pytest.mark.parametrize("utc", [False, True], ids=["naive", "utc"])
def test_datetimes_in_parquet_are_read_in_ms(folder: Path, tables: Tables, utc: bool) -> None:
    expected = load_log(folder, "AAA")
    for kind in KINDS:
        (folder / f"{kind}_AAA.csv").unlink()
        times = {
            name: pd.to_datetime(tables[kind][name], unit="ms", utc=utc)
            for name in tables[kind].columns
            if name.endswith("_ms")
        }
        tables[kind].assign(**times).to_parquet(folder / f"{kind}_AAA.parquet", index=False)
    assert_same(load_log(folder, "AAA"), expected)


def test_preference_where_formats_stand_side_by_side(
    folder: Path, tables: Tables, write_run: WriteRun
) -> None:
    # each form holds another number of fills, so that it shows which one was read; the orders
    # must not tell of the missing ones, or they would be repaired
    silent = tables["orders"][~tables["orders"]["action"].isin(["FILL", "CLOSE_FILLED"])]
    (folder / "orders_AAA.csv").write_bytes(csv_bytes(silent))
    rows = {".csv": len(tables["fills"]), ".csv.gz": 200, ".parquet": 100}
    for suffix in (".csv.gz", ".parquet"):
        write_run(folder, {"fills": tables["fills"].head(rows[suffix])}, suffix=suffix)
    for suffix, beside in ((".csv", [".csv.gz", ".parquet"]), (".csv.gz", [".parquet"])):
        log = load_log(folder, "AAA")
        assert len(log.runs[0].fills) == rows[suffix]
        assert len(log.warnings) == 1
        assert log.warnings[0].startswith(f"fills_AAA{suffix} is read")
        assert all(f"fills_AAA{other}" in log.warnings[0] for other in beside)
        (folder / f"fills_AAA{suffix}").unlink()
    log = load_log(folder, "AAA")
    assert (len(log.runs[0].fills), log.warnings) == (100, ())


def test_run_folders_are_pooled_and_files_on_top_win(
    tmp_path: Path, tables: Tables, later_tables: Tables, write_run: WriteRun
) -> None:
    write_run(tmp_path / "2025-01-01", tables)
    write_run(tmp_path / "2025-01-02", later_tables, suffix=".parquet")
    write_run(tmp_path / "2025-01-02", later_tables, symbol="BBB")
    pooled = load_log(tmp_path, "AAA")
    assert [run.name for run in pooled.runs] == ["2025-01-01", "2025-01-02"]
    assert len(pooled.inputs_sha256) == 6
    assert len(load_log(tmp_path, "BBB").runs) == 1

    both = [[tables[kind], later_tables[kind]] for kind in KINDS]
    together = mm.calibrate(*both, tick_size=1.0)
    alone = [mm.calibrate(*(t[k] for k in KINDS), tick_size=1.0) for t in (tables, later_tables)]
    assert_same(together.log, pooled)
    assert together.estimate.n_events == sum(one.estimate.n_events for one in alone)
    total = sum(one.estimate.exposure_s for one in alone)
    assert together.estimate.exposure_s == pytest.approx(total, rel=1e-12)

    write_run(tmp_path, tables)
    top = load_log(tmp_path, "AAA")
    assert_same(top, load_log(tmp_path / "2025-01-01", "AAA"))
    assert len(top.warnings) == 1
    assert "2025-01-01, 2025-01-02" in top.warnings[0]
    assert load_log(tmp_path, "BBB").warnings == ()


def first_half(tables: Tables) -> Tables:
    middle = tables["state"]["recv_ms"].median()
    return {kind: table[table["recv_ms"] <= middle] for kind, table in tables.items()}


def with_a_skip(tables: Tables) -> Tables:
    skip = tables["orders"].tail(1).assign(order_id="", action="SKIP")
    return {**tables, "orders": pd.concat([tables["orders"], skip], ignore_index=True)}


@pytest.mark.parametrize("large_bytes", [0, 1 << 30], ids=["long", "short"])
@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        (dict, ".csv"),
        (dict, ".csv.gz"),
        (dict, ".parquet"),
        (with_a_skip, ".csv"),
        (first_half, ".csv"),
    ],
    ids=["copied", "packed", "parquet", "a SKIP row more", "its first half"],
)
def test_one_run_that_stands_twice_is_refused(
    tmp_path: Path,
    tables: Tables,
    write_run: WriteRun,
    monkeypatch: pytest.MonkeyPatch,
    large_bytes: int,
    change: Callable[[Tables], Tables],
    suffix: str,
) -> None:
    # a copied folder would count every fill twice and make the interval too narrow
    monkeypatch.setattr("mm.logs.load.LARGE_BYTES", large_bytes)
    write_run(tmp_path / "day 1", tables)
    write_run(tmp_path / "day 1 again", change(tables), suffix=suffix)
    text = error_of(tmp_path)
    assert "'day 1 again': is the same run as 'day 1'" in text
    assert "take one away" in text


def test_one_run_given_twice_is_refused(tables: Tables) -> None:
    with pytest.raises(InputError, match="'run 2': is the same run as 'run 1'"):
        mm.calibrate(*([tables[kind]] * 2 for kind in KINDS), tick_size=1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "fills of run 1: found None, expected a pandas DataFrame"),
        ("data/fills_AAA.csv", "fills of run 1: found a str ('data/fills_AAA.csv')"),
        (Path("fills_AAA.csv"), "fills of run 1: found a PosixPath ('fills_AAA.csv')"),
        ([None], "fills of run 1: found None"),
        ([], "found tables of 1 orders, 0 fills, 1 state; give one of each for every run"),
    ],
)
def test_what_is_no_table_is_named(tables: Tables, given: Any, said: str) -> None:
    with pytest.raises(CalibrationError, match=re.escape(said)) as error:
        mm.calibrate(tables["orders"], given, tables["state"])
    assert "\n" not in str(error.value)


def test_two_runs_that_share_a_part_are_refused(tables: Tables) -> None:
    first, last = tables["state"]["recv_ms"].quantile([0.6, 0.4])
    parts = [
        tuple(tables[kind][tables[kind]["recv_ms"] <= first] for kind in KINDS),
        tuple(tables[kind][tables[kind]["recv_ms"] >= last] for kind in KINDS),
    ]
    with pytest.raises(InputError, match="'run 2': is the same run as 'run 1'"):
        log_from_frames(parts)


def test_runs_of_one_market_are_pooled(tables: Tables) -> None:
    renamed = {
        k: t.assign(order_id="b" + t["order_id"].astype("str"))
        for k, t in tables.items()
        if k != "state"
    }
    elsewhere = tables["orders"].assign(price=tables["orders"]["price"] + 0.5)
    filled = tables["fills"].assign(recv_ms=tables["fills"]["recv_ms"] + 1)
    for other in (renamed, {"orders": elsewhere}, {"fills": filled}):
        runs = [tuple(one[kind] for kind in KINDS) for one in (tables, {**tables, **other})]
        assert len(log_from_frames(runs).runs) == 2


def test_hashes_are_those_of_the_files(folder: Path) -> None:
    (folder / "fills_AAA.csv").write_bytes(b"recv_ms,order_id\n")
    found = load_log(folder, "AAA").inputs_sha256
    assert set(found) == {f"{kind}_AAA.csv" for kind in KINDS}
    # printf 'recv_ms,order_id\n' | sha256sum
    assert found["fills_AAA.csv"] == (
        "3d019093d43687f371e580ad2b53d4b9c1f2cbd31205254832a8d264c0f8b390"
    )


def test_a_run_without_fills_is_a_log(
    tmp_path: Path, unfilled_tables: Tables, write_run: WriteRun
) -> None:
    log = load_log(write_run(tmp_path / "quiet", unfilled_tables), "AAA")
    assert len(log.runs[0].fills) == 0
    assert log.set_aside == ()


# --- files that have no meaning --------------------------------------------------------------


def cut(path: Path) -> None:
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(packed[: len(packed) // 2])


def not_gzip(path: Path) -> None:
    path.rename(path.with_name(path.name + ".gz"))


def not_parquet(path: Path) -> None:
    path.rename(path.with_suffix(".parquet"))


def only_header(path: Path) -> None:
    path.write_text(path.read_text().split("\n", 1)[0] + "\n")


def semicolons(path: Path) -> None:
    path.write_text(path.read_text().replace(",", ";"))


def no_header(path: Path) -> None:
    path.write_text(path.read_text().split("\n", 1)[1])


def in_unit(factor: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pd.read_csv(path)
        table["recv_ms"] = (table["recv_ms"] * factor).astype("int64")
        table.to_csv(path, index=False)

    return change


def without(column: str) -> Callable[[Path], None]:
    return lambda path: pd.read_csv(path).drop(columns=column).to_csv(path, index=False)


def two_symbols(path: Path) -> None:
    table = pd.read_csv(path)
    table["symbol"] = np.where(np.arange(len(table)) % 2, "AAA", "BBB")
    table.to_csv(path, index=False)


def utf16(path: Path) -> None:
    path.write_text(path.read_text(), encoding="utf-16")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone.csv"))


@pytest.mark.parametrize(
    ("kind", "break_it", "said"),
    [
        ("orders", Path.unlink, ["no orders_AAA.csv"]),
        ("fills", Path.unlink, ["no fills_AAA.csv"]),
        ("state", Path.unlink, ["no state_AAA.csv"]),
        ("fills", lambda path: path.write_bytes(b""), ["fills_AAA.csv", "empty"]),
        ("orders", only_header, ["orders_AAA.csv", "no usable order row"]),
        ("state", only_header, ["state_AAA.csv", "no usable state row"]),
        ("state", cut, ["state_AAA.csv.gz", "not a whole gzip file"]),
        ("orders", not_gzip, ["orders_AAA.csv.gz", "not a whole gzip file"]),
        ("orders", not_parquet, ["orders_AAA.parquet", "not a Parquet file"]),
        ("orders", semicolons, ["orders_AAA.csv", "row 1", "commas"]),
        ("state", no_header, ["state_AAA.csv", "row 1", "recv_ms", "mid"]),
        ("state", without("mid"), ["state_AAA.csv", "row 1", "column mid missing"]),
        ("orders", without("side"), ["orders_AAA.csv", "row 1", "column side missing"]),
        ("fills", without("recv_ms"), ["fills_AAA.csv", "row 1", "column recv_ms missing"]),
        ("state", in_unit(1e-3), ["state_AAA.csv", "in s ", "milliseconds"]),
        ("orders", in_unit(1e3), ["orders_AAA.csv", "in µs ", "milliseconds"]),
        ("fills", in_unit(1e6), ["fills_AAA.csv", "in ns ", "milliseconds"]),
        ("orders", two_symbols, ["orders_AAA.csv", "AAA, BBB", "one file per symbol"]),
        ("orders", utf16, ["orders_AAA.csv", "UTF-8"]),
        ("state", a_folder, ["state_AAA.csv"]),
        ("state", a_broken_link, ["state_AAA.csv"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_a_file_without_a_meaning_is_one_line(
    folder: Path, kind: str, break_it: Callable[[Path], object], said: list[str]
) -> None:
    break_it(folder / f"{kind}_AAA.csv")
    text = error_of(folder)
    assert [part for part in said if part not in text] == [], text


def test_times_of_one_optional_column_in_seconds_are_found(folder: Path, tables: Tables) -> None:
    # an order active since 1970 would bring decades of exposure
    orders = tables["orders"].assign(active_recv_ms=tables["orders"]["active_recv_ms"] // 1000)
    (folder / "orders_AAA.csv").write_bytes(csv_bytes(orders))
    assert "active_recv_ms" in error_of(folder)


def test_a_stray_quote_is_found(folder: Path) -> None:
    edit(folder / "orders_AAA.csv", 7, put(1, '"abc'))
    assert "orders_AAA.csv" in error_of(folder)


def test_no_such_symbol_and_no_such_folder(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'AAB'.*symbols there: AAA"):
        load_log(folder, "AAB")
    with pytest.raises(InputError, match="no such folder"):
        load_log(folder / "nowhere", "AAA")


def test_a_pooled_run_s_error_names_its_folder(
    tmp_path: Path, tables: Tables, later_tables: Tables, write_run: WriteRun
) -> None:
    write_run(tmp_path / "day 1", tables)
    only_header(write_run(tmp_path / "day 2", later_tables) / "state_AAA.csv")
    assert "day 2/state_AAA.csv" in error_of(tmp_path)


# --- rows that are set aside -----------------------------------------------------------------

ORDERS = {"recv_ms": 0, "order_id": 1, "action": 2, "side": 4, "price": 5, "active_recv_ms": 8}


@pytest.mark.parametrize(
    ("kind", "column", "text", "said"),
    [
        ("orders", ORDERS["price"], "12o.5", "price"),
        ("orders", ORDERS["price"], "nan", "price"),
        ("orders", ORDERS["price"], "", "price"),
        ("orders", ORDERS["price"], "-60000.0", "price"),
        ("orders", ORDERS["price"], "inf", "price"),
        ("orders", ORDERS["side"], "LONG", "side"),
        ("orders", ORDERS["action"], "", "action"),
        ("orders", ORDERS["order_id"], "", "order_id"),
        ("orders", ORDERS["active_recv_ms"], "soon", "active_recv_ms"),
        ("fills", 0, "2025-01-01T00:00:01", "recv_ms"),
        ("fills", 0, "1735689600000.5", "recv_ms"),
        ("state", 0, "", "recv_ms"),
        ("state", 0, "-5", "recv_ms"),
        ("state", 3, "0", "mid"),
        ("state", 3, "-1", "mid"),
        ("state", 3, "sixty", "mid"),
    ],
)
def test_a_bad_cell_sets_its_row_aside(
    folder: Path, tables: Tables, kind: str, column: int, text: str, said: str
) -> None:
    edit(folder / f"{kind}_AAA.csv", 5, put(column, text))  # in orders a PLACE row
    log = load_log(folder, "AAA")
    (aside,) = log.set_aside
    assert (aside.file, aside.rows, aside.first_row) == (f"{kind}_AAA.csv", 1, 5)
    assert aside.of == len(tables[kind])
    assert said in aside.what
    table = getattr(log.runs[0], kind)
    assert len(table) == len(tables[kind]) - 1
    assert table["recv_ms"].iloc[3] == tables[kind]["recv_ms"].iloc[4]


def test_lines_with_too_many_fields_are_set_aside_by_number(folder: Path, tables: Tables) -> None:
    path = folder / "state_AAA.csv"
    for line in (5, 9):
        edit(path, line, lambda cells: [*cells, "7"])
    edit(path, 12, put(3, "wide"))  # the number of a row behind them is not shifted
    log = load_log(folder, "AAA")
    assert sorted((a.first_row, a.rows) for a in log.set_aside) == [(5, 2), (12, 1)]
    assert {a.of for a in log.set_aside} == {len(tables["state"])}
    assert len(log.runs[0].state) == len(tables["state"]) - 3


def test_a_number_with_a_comma_in_it_does_not_shift_its_row(folder: Path) -> None:
    # 60,000.5 is one field too many: the mid would read 60
    edit(folder / "state_AAA.csv", 5, put(3, "60,000.5"))
    (aside,) = load_log(folder, "AAA").set_aside
    assert (aside.file, aside.first_row) == ("state_AAA.csv", 5)


def test_a_last_line_cut_off_is_set_aside(folder: Path, tables: Tables) -> None:
    path = folder / "state_AAA.csv"
    lines = path.read_text().rstrip("\n").split("\n")
    path.write_text("\n".join([*lines[:-1], lines[-1][:15]]))  # a killed backtest
    (aside,) = load_log(folder, "AAA").set_aside
    assert (aside.first_row, aside.rows) == (len(tables["state"]) + 1, 1)


def test_blank_lines_are_nothing_but_count(folder: Path, tables: Tables) -> None:
    path = folder / "state_AAA.csv"
    lines = path.read_text().split("\n")
    lines.insert(3, "")
    path.write_text("\n".join(lines))
    edit(path, 9, put(3, "wide"))
    (aside,) = load_log(folder, "AAA").set_aside
    assert (aside.first_row, aside.rows, aside.of) == (9, 1, len(tables["state"]))


def test_parquet_rows_are_counted_like_lines(folder: Path, tables: Tables) -> None:
    (folder / "state_AAA.csv").unlink()
    state = tables["state"].copy()
    state.loc[3, "mid"] = np.inf
    state.to_parquet(folder / "state_AAA.parquet", index=False)
    (aside,) = load_log(folder, "AAA").set_aside
    assert (aside.file, aside.first_row) == ("state_AAA.parquet", 5)


def test_empty_prices_on_rows_that_are_no_placement_are_fine(folder: Path, tables: Tables) -> None:
    orders = tables["orders"].copy()
    orders.loc[orders["action"] != "PLACE", ["price", "side"]] = [np.nan, ""]  # type: ignore[assignment]
    (folder / "orders_AAA.csv").write_bytes(csv_bytes(orders))
    assert load_log(folder, "AAA").set_aside == ()


def test_over_the_budget_the_verdict_is_refused(tables: Tables) -> None:
    bad = np.random.default_rng(5).choice(len(tables["state"]), 12, replace=False)
    state = tables["state"].copy()
    state.loc[bad, "mid"] = 0.0
    share = 12 / len(state)
    for limit, status in ((share * 1.01, "warn"), (share * 0.99, "refused")):
        result = mm.calibrate(
            tables["orders"],
            tables["fills"],
            state,
            tick_size=1.0,
            MAX_SET_ASIDE_FRACTION=limit,
        )
        assert result.verdict.status == status
        assert (result.params is None) == (status == "refused")
        (finding,) = (f for f in result.verdict.reasons if f.code == "malformed_rows")
        assert f"row {bad.min() + 2} and 11 more" in str(finding)
    assert "MAX_SET_ASIDE_FRACTION" in str(finding)


def test_loading_twice_is_the_same_and_touches_nothing(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert_same(load_log(folder, "AAA"), load_log(copy, "AAA"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_ids_that_look_like_numbers_stay_text(tables: Tables) -> None:
    # 007 and 7 are two orders; so are two ids beyond 2^53
    header = "recv_ms,order_id,action,side,price,active_recv_ms\n"
    ids = ["007", "7", "9007199254740993", "9007199254740992", "1e3", "NA", "null"]
    text = header + "".join(
        f"1735689600000,{name},PLACE,BUY,{59990 + n},1735689600050\n" for n, name in enumerate(ids)
    )
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    log = mm.calibrate(frame, tables["fills"].head(0), tables["state"], tick_size=1.0).log
    assert log.runs[0].orders["order_id"].tolist() == ids
