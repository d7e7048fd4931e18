"""Damaged input, row by row of docs/input.md: a clear message, and never a wrong number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mm.calibration import Calibration, run_steps
from mm.core.errors import InputError
from mm.core.settings import Settings
from mm.logs.load import load_log
from mm.simulate.write import csv_bytes
from tests.support import damage
from tests.support.damage import KINDS, Damage

Tables = dict[str, pd.DataFrame]
SETTINGS = Settings.build({"SYMBOL": "AAA", "TICK_SIZE": 1.0})
DAMAGES = damage.all_damages()


@pytest.fixture(scope="module")
def good() -> Tables:
    return damage.good_tables()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return calibrated(damage.write_good(tmp_path_factory.mktemp("good")))


def calibrated(folder: Path) -> Calibration:
    return run_steps(load_log(folder, "AAA"), SETTINGS)


def numbers(result: Calibration) -> object:
    fit = result.estimate.fit
    return None if fit is None else (fit.A, fit.k, fit.n_events, fit.exposure_s)


def said(result: Calibration) -> list[str]:
    """All that a reader sees, the lines of the accounting included."""
    rows = result.accounts.reconciliation.rows()
    return [str(f) for f in result.verdict.findings] + [name for _, name, n in rows if n]


def test_names_differ() -> None:
    assert len({d.name for d in DAMAGES}) == len(DAMAGES)


@pytest.mark.parametrize("case", DAMAGES, ids=lambda case: case.name)
def test_damaged_input(case: Damage, healthy: Calibration, tmp_path: Path) -> None:
    folder = damage.write_good(tmp_path / "run")
    case.apply(folder)
    if case.outcome == "failed":
        with pytest.raises(InputError) as error:
            calibrated(folder)
        text = str(error.value)
        assert case.says in text
        assert "AAA" in text, "the file is named"
        assert "\n" not in text
        assert len(text) < 600
        assert error.value.remedy
        return
    result = calibrated(folder)
    seen = said(result)
    assert any(case.says in line for line in seen), seen
    assert all("\n" not in line for line in seen)
    if case.outcome == "refused":
        assert result.verdict.status == "refused"
        assert result.params is None
        return
    assert result.verdict.status != "refused", seen
    assert (case.outcome == "set aside") == bool(result.log.set_aside)
    fit, truth = result.estimate.fit, healthy.estimate.fit
    assert fit is not None
    assert truth is not None
    if case.outcome == "same":
        assert numbers(result) == numbers(healthy)
    # Whatever is left out, it is left out on both sides of the ratio: within a standard error.
    assert abs(np.log(fit.A / truth.A)) < np.sqrt(truth.cov[0][0])
    assert abs(fit.k - truth.k) < np.sqrt(truth.cov[1][1])


def test_the_page_holds_the_table_of_today() -> None:
    text = damage.PAGE.read_text(encoding="utf-8")
    assert text == damage.page_with(text), "run python -m tests.support.damage"


# --- rules behind the table --------------------------------------------------------------------


def test_an_order_with_a_malformed_row_counts_neither_way(good: Tables, tmp_path: Path) -> None:
    folder = damage.write_good(tmp_path)
    name = good["fills"]["order_id"].iloc[0]
    damage.cell("fills", "recv_ms", "soon", 0)(folder)
    result = calibrated(folder)
    ids = result.accounts.exposure.intervals[0].order_id
    assert name not in ids
    without = good["orders"][good["orders"]["order_id"] != name]
    other = damage.write_good(tmp_path / "other")
    (other / "orders_AAA.csv").write_bytes(csv_bytes(without))
    fills = good["fills"][good["fills"]["order_id"] != name]
    (other / "fills_AAA.csv").write_bytes(csv_bytes(fills))
    assert numbers(result) == numbers(calibrated(other))


def test_a_mid_that_can_t_be_used_is_unknown_until_the_next_row(
    good: Tables, healthy: Calibration, tmp_path: Path
) -> None:
    folder = damage.write_good(tmp_path)
    damage.cell("state", "mid", "?", 500)(folder)
    result = calibrated(folder)
    time = good["state"]["recv_ms"]
    gap = time[501] - time[500]
    orders = result.accounts.exposure.intervals[0]
    resting = sum(
        max(0, min(end, time[501]) - max(start, time[500]))
        for start, end in zip(orders.start_ms, orders.end_ms, strict=True)
    )
    assert 0 < resting <= 6 * gap
    rec, before = result.accounts.reconciliation, healthy.accounts.reconciliation
    outage = "outage (mid older than MAX_STATE_GAP_MS)"
    assert rec.order_ms[outage] - before.order_ms[outage] == resting
    assert before.order_ms["used"] - rec.order_ms["used"] == resting


def test_a_lost_cancel_does_not_let_its_order_rest_to_the_end(
    good: Tables, healthy: Calibration, tmp_path: Path
) -> None:
    # Without expiries: nothing but the cancel ends these orders.
    orders = good["orders"].assign(expire_recv_ms=np.nan)
    orders = orders[orders["action"] != "EXPIRE"]
    folder = damage.write_good(tmp_path, {**good, "orders": orders})
    plain = calibrated(folder)
    cancelled = orders.loc[orders["action"] == "CANCEL_REQ", "order_id"].iloc[5]
    path = folder / "orders_AAA.csv"
    lines = path.read_text().splitlines()
    lost = [
        line.replace(cancelled, "") if cancelled in line and "CANCEL_" in line else line
        for line in lines
    ]
    path.write_text("\n".join(lost) + "\n")
    result = calibrated(folder)
    assert cancelled not in result.accounts.exposure.intervals[0].order_id
    assert result.estimate.exposure_s <= plain.estimate.exposure_s


def test_fills_are_repaired_as_they_were(
    good: Tables, healthy: Calibration, tmp_path: Path
) -> None:
    folder = damage.write_good(tmp_path, {**good, "fills": good["fills"].head(0)})
    result = calibrated(folder)
    assert result.log.runs[0].n_repaired == good["fills"]["order_id"].nunique()
    assert numbers(result) == numbers(healthy)
    found = result.log.runs[0].fills.groupby("order_id")["qty"].sum()
    true = good["fills"].groupby("order_id")["qty"].sum()
    pd.testing.assert_series_equal(found, true, check_exact=False, rtol=1e-9)


def test_duplicate_fill_rows_are_prints_and_stay(good: Tables) -> None:
    copies = good["fills"].duplicated().sum()
    assert copies > 20
    log = load_log_of(good)
    assert len(log.runs[0].fills) == len(good["fills"])


def load_log_of(tables: Tables):  # type: ignore[no-untyped-def]
    from mm.logs.load import log_from_frames

    return log_from_frames([tuple(tables[kind] for kind in KINDS)])  # type: ignore[list-item]


def test_a_second_run_of_orders_that_nothing_ends(tmp_path: Path) -> None:
    # No inventory and no count of open orders: only the orders that are never heard of again.
    folder = tmp_path
    parts = [damage.good_tables(1), damage.good_tables(2, damage.SCENARIO.start_ms + 300_000)]
    for part in parts:
        part["orders"] = part["orders"].assign(expire_recv_ms=np.nan)
        part["orders"] = part["orders"][part["orders"]["action"] != "EXPIRE"]
        part["state"] = part["state"][["recv_ms", "mid"]]
    for kind in KINDS:
        both = pd.concat([part[kind] for part in parts], ignore_index=True)
        (folder / f"{kind}_AAA.csv").write_bytes(csv_bytes(both))
    result = calibrated(folder)
    assert result.verdict.status == "refused"
    assert result.verdict.reasons[0].code == "appended_run"
    assert "no row tells of the orders that rested before" in result.verdict.reasons[0].what


def test_one_bad_row_among_a_million_is_named_by_its_number(good: Tables, tmp_path: Path) -> None:
    folder = damage.write_good(tmp_path)
    n, begin = 1_000_000, int(good["state"]["recv_ms"].iloc[0])
    mids = good["state"]["mid"].to_numpy()
    body = [f"{begin + i},,,{mids[i % len(mids)]:.2f},," for i in range(n)]
    body[654_321] = f"{begin + 654_321},,,6o000,,"
    head = "recv_ms,inventory,cash,mid,mtm_value,open_orders\n"
    (folder / "state_AAA.csv").write_text(head + "\n".join(body) + "\n")
    (aside,) = load_log(folder, "AAA").set_aside
    assert (aside.first_row, aside.rows, aside.of) == (654_323, 1, n)
    assert "'6o000'" in aside.what


def test_a_file_that_grows_while_it_is_read_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = damage.write_good(tmp_path)
    read = Path.read_bytes

    def read_and_grow(path: Path) -> bytes:
        content = read(path)
        if path.name == "fills_AAA.csv":
            with path.open("ab") as file:
                file.write(b"x")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_grow)
    with pytest.raises(InputError, match=r"fills_AAA\.csv: changed while it was read"):
        load_log(folder, "AAA")


def test_a_file_or_folder_without_rights_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = damage.write_good(tmp_path)

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError, match=r"orders_AAA\.csv: can't be read \(Permission denied\)"):
        load_log(folder, "AAA")
    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match="the folder can't be read"):
        load_log(folder, "AAA")


def test_one_run_in_two_folders_fails(tmp_path: Path) -> None:
    for name in ("monday", "tuesday"):
        damage.write_good(tmp_path / name)
    with pytest.raises(InputError, match="'tuesday': is the same run as 'monday'"):
        load_log(tmp_path, "AAA")


# --- through the command line ------------------------------------------------------------------

BY_COMMAND = {
    "orders: missing": ("failed", "no orders_"),
    "state: gzip, cut in the middle": ("failed", "not a whole gzip file"),
    "fills: clock 3 s late": ("refused", "first fills come +3000 ms"),
    "orders: a quote that is opened and never closed": ("failed", "row 42: a quote is opened"),
    "all: every cell in quotes": ("ok", ""),
}


def test_through_the_command_line(root: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    by_name = {d.name: d for d in DAMAGES}
    symbols = {}
    for number, name in enumerate(BY_COMMAND):
        folder = damage.write_good(tmp_path / f"case{number}")
        by_name[name].apply(folder)
        symbols[f"S{number}"] = name
        for path in folder.iterdir():
            path.rename(data / path.name.replace("AAA", f"S{number}"))
    places = ["--data-dir", str(data), "--out-dir", str(out)]
    done = subprocess.run(
        [sys.executable, "run_calibration.py", "-p", "TICK_SIZE", "1.0", *places],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    books = json.loads((out / "run.json").read_text())["symbols"]
    for symbol, name in symbols.items():
        status, says = BY_COMMAND[name]
        assert books[symbol]["status"] == status, name
        assert (out / symbol / f"params_{symbol}.json").exists() == (status in ("ok", "warn")), name
        lines = [x for x in (done.stdout + done.stderr).splitlines() if symbol in x]
        assert any(says in line for line in lines), (name, lines)
