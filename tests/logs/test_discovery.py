"""What a data folder holds: folders at any depth, days by file name, and one market only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.convert import convert
from mm.core.config import find_config
from mm.core.errors import InputError
from mm.logs.discovery import discover
from mm.logs.load import load_log
from mm.pipeline.plan import Request, make_plan

Tables = Mapping[str, pd.DataFrame]
WriteRun = Callable[..., Path]


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def runs(folder: Path) -> dict[str, list[str]]:
    return {s: [run.name for run in found] for s, found in discover(folder).symbols.items()}


def test_runs_are_found_at_any_depth_and_hidden_folders_are_not(tmp_path: Path) -> None:
    for folder in ("2025/01/a", "2025/02/a", "b", ".trash/c", "2025/.old"):
        touch(tmp_path / folder, "orders_AAA.csv")
    parts = tmp_path / "b" / "state_AAA.parquet"
    touch(parts / "date=2025-01-01", "part-0.parquet", "orders_ZZZ.csv")
    assert runs(tmp_path) == {"AAA": ["2025/01/a", "2025/02/a", "b"]}
    (tmp_path / "2025" / "loop").symlink_to(tmp_path)
    assert runs(tmp_path) == {"AAA": ["2025/01/a", "2025/02/a", "b"]}


def test_what_lies_below_a_run_is_left_and_said(tmp_path: Path) -> None:
    touch(tmp_path / "a", "orders_AAA.csv")
    for below in ("old", "older"):
        touch(tmp_path / "a" / below, "orders_AAA.csv", "orders_BBB.csv")
    found = discover(tmp_path)
    assert {s: [r.name for r in rr] for s, rr in found.symbols.items()} == {
        "AAA": ["a"],
        "BBB": ["a/old", "a/older"],
    }
    (run,) = found.symbols["AAA"]
    assert run.warnings == ("AAA: files in a are used; those in a/old, a/older are not",)


@pytest.mark.parametrize(
    "name", ["orders_AAA.csv.zst", "Orders_AAA.csv", "order_AAA.csv", "fills-AAA.csv", "state_.csv"]
)
def test_what_looks_like_a_log_and_is_none_is_said(name: str, tmp_path: Path) -> None:
    touch(tmp_path / "run", "orders_AAA.csv", name, "notes.txt")
    (line,) = discover(tmp_path).left
    assert f"{tmp_path / 'run'}: not read: {name};" in line


@pytest.mark.parametrize(
    ("pattern", "days"),
    [
        ("AAA_{}", ["20250101", "20250102", "20250103"]),
        ("AAA-{}", ["2025-01-01", "2025-01-02"]),
        ("AAA.{}", ["20250101T0000", "20250101T0600"]),
        ("{}_AAA", ["2025_01_01", "2025_01_02"]),
    ],
)
def test_files_by_date_are_days_of_one_symbol(
    pattern: str, days: list[str], tmp_path: Path
) -> None:
    touch(tmp_path, *(f"orders_{pattern.format(day)}.csv" for day in days))
    touch(tmp_path, "orders_BBB.csv")
    assert runs(tmp_path) == {"AAA": days, "BBB": [tmp_path.name]}
    plan = make_plan(Request(data_dir=tmp_path, out_dir=tmp_path / "out"), {})
    assert plan.pooled == [f"AAA: {len(days)} runs pooled: {', '.join(days)}"]


@pytest.mark.parametrize("names", [["BTC_250328", "BTC_250627"], ["X_20251301", "X_20250132"]])
def test_a_future_s_expiry_is_no_day(names: list[str], tmp_path: Path) -> None:
    touch(tmp_path, *(f"orders_{name}.csv" for name in names))
    assert list(discover(tmp_path).symbols) == sorted(names)
    assert discover(tmp_path).left == ()


def test_a_single_date_may_be_part_of_a_name_and_that_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "orders_BTC_20250328.csv")
    found = discover(tmp_path)
    assert list(found.symbols) == ["BTC_20250328"]
    assert found.left == (
        "BTC_20250328: taken as the name of a symbol, since there is no other day of BTC",
    )
    touch(tmp_path, "orders_BTC.csv")
    assert runs(tmp_path) == {"BTC": [tmp_path.name, "20250328"]}


def test_pooled_runs_are_told_in_a_line_a_kind(tmp_path: Path) -> None:
    for day in range(1, 31):
        names = ["orders_AAA.csv", "orders_BBB.csv", *(["orders_CCC.csv"] if day > 28 else [])]
        touch(tmp_path / f"2025-01-{day:02d}", *names)
    found = discover(tmp_path)
    assert found.pooled(list(found.symbols)) == [
        "AAA, BBB: 30 runs pooled: 2025-01-01, 2025-01-02, 2025-01-03, 2025-01-04, 2025-01-05 … "
        "2025-01-30 (30)",
        "CCC: 2 runs pooled: 2025-01-29, 2025-01-30",
    ]


def test_days_by_name_are_pooled_as_run_folders_are(
    tables: Tables, later_tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    flat, folders = tmp_path / "flat", tmp_path / "folders"
    for day, some in (("20250101", tables), ("20250102", later_tables)):
        write_run(flat, some, f"AAA_{day}")
        write_run(folders / day, some, "AAA")
    one, other = load_log(flat, "AAA"), load_log(folders, "AAA")
    assert [run.name for run in one.runs] == [run.name for run in other.runs]
    assert list(one.inputs_sha256.values()) == list(other.inputs_sha256.values())
    assert "fills_AAA_20250102.csv" in one.inputs_sha256
    convert(flat, tmp_path / "parquet")
    assert [r.name for r in load_log(tmp_path / "parquet", "AAA").runs] == ["20250101", "20250102"]
    (flat / "fills_AAA_20250102.csv").unlink()
    with pytest.raises(InputError, match=r"no fills_AAA.csv, .csv.gz or .parquet of 20250102"):
        load_log(flat, "AAA")


def other_venue(tables: Tables, offset: float, scale: float = 1.0) -> dict[str, pd.DataFrame]:
    """The same asset elsewhere: it moves alike, at another price, with some noise of its own."""
    state, rng = tables["state"], np.random.default_rng(7)
    noise = rng.normal(0.0, 0.3, len(state)).round(1) if offset else 0.0
    orders = tables["orders"]
    return {
        "orders": orders.assign(
            price=orders["price"] * scale + offset, order_id=orders["order_id"].add("x")
        ),
        "fills": tables["fills"].assign(order_id=tables["fills"]["order_id"].add("x")),
        "state": state.assign(mid=state["mid"] * scale + offset + noise),
    }


@pytest.mark.parametrize(
    ("folders", "offset", "scale", "said"),
    [
        (("a", "b"), 20.0, 1.0, "at the same times their mids move together and differ by"),
        (("a", "b"), 0.0, 1000.0, "their mids lie at"),
        (("spot", "usdm"), 0.0, 1.0, "their folders say spot and linear futures"),
        (
            ("futures/um", "futures/cm"),
            0.0,
            1.0,
            "their folders say inverse futures and linear futures",
        ),
        (("USD-M/1", "COIN-M/1"), 0.0, 1.0, "'USD-M/1': is"),
    ],
)
def test_two_markets_are_not_pooled(
    folders: tuple[str, str],
    offset: float,
    scale: float,
    said: str,
    tables: Tables,
    write_run: WriteRun,
    tmp_path: Path,
) -> None:
    write_run(tmp_path / folders[0], tables)
    write_run(tmp_path / folders[1], other_venue(tables, offset, scale))
    with pytest.raises(InputError, match="is another market than") as error:
        load_log(tmp_path, "AAA")
    assert said in str(error.value)
    assert "a --data-dir and --out-dir each" in str(error.value)


def test_what_meta_says_of_two_markets_is_heard(
    tables: Tables, later_tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    for name, some in (("a", tables), ("b", later_tables)):
        meta = write_run(tmp_path / name, some) / "meta.json"
        meta.write_text(json.dumps({"market": name, "symbol": "AAA"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"their meta.json say market 'a' and 'b'"):
        load_log(tmp_path, "AAA")
    meta.write_text("not JSON", encoding="utf-8")
    assert len(load_log(tmp_path, "AAA").runs) == 2


def test_one_market_under_other_quotes_or_by_another_recorder_is_pooled(
    tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(tmp_path / "a", tables)
    late = other_venue(tables, 0.0)
    late["state"] = tables["state"].assign(recv_ms=tables["state"]["recv_ms"] + 40)
    write_run(tmp_path / "b", late)
    assert len(load_log(tmp_path, "AAA").runs) == 2


def test_yml_is_read_as_yaml_is_and_a_second_file_is_said(
    tables: Tables, write_run: WriteRun, tmp_path: Path
) -> None:
    write_run(tmp_path, tables)
    (tmp_path / "calibration.yml").write_text("defaults: {TICK_SIZE: 0.5}", encoding="utf-8")
    assert find_config(tmp_path).defaults == {"TICK_SIZE": 0.5}
    (tmp_path / "calibration.yaml").write_text("defaults: {TICK_SIZE: 2.0}", encoding="utf-8")
    plan = make_plan(Request(data_dir=tmp_path, out_dir=tmp_path / "out"), {})
    assert plan.jobs[0].resolved.settings.TICK_SIZE == 2.0
    (line,) = plan.warnings
    assert "calibration.yaml is read; " in line
    assert "calibration.yml beside it is not" in line
