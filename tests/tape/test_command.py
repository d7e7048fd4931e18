"""From a tape to a report and to tables, by the commands."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from mm.pipeline.cli import main
from mm.tape.__main__ import main as write_tables
from tests.support import tapes


def test_the_same_by_the_driver_and_as_tables(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    tapes.plain(data, tapes.quick_tape())
    chosen = {"TICK_SIZE": "1", "REQUOTE_MS": "1000", "HORIZON_MS": "1000", "QUOTE_TICKS": "1,2,3"}
    given = [part for name, value in chosen.items() for part in ("-p", name, value)]
    arguments = ["--data-dir", str(data), "--out-dir", str(out), "--kernel", "stock", *given]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    params = json.loads((out / "BTCUSDT" / "params_BTCUSDT.json").read_text())
    assert params["source"] == "tape"
    assert "virtual orders every 1,000 ms at 1, 2, 3 ticks" in params["virtual_orders"]
    assert set(params["inputs_sha256"]) == {"trades_BTCUSDT.csv", "quotes_BTCUSDT.csv"}
    page = (out / "BTCUSDT" / "report_BTCUSDT.html").read_text()
    assert "nobody&#39;s orders made this" in page
    assert "Other horizons and fill rules" in page
    tables, again = tmp_path / "tables", tmp_path / "again"
    assert write_tables([str(data), str(tables), "--symbol", "BTCUSDT", *given]) == 0
    arguments = ["--data-dir", str(tables), "--out-dir", str(again), "--kernel", "stock", *given]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    other = json.loads((again / "BTCUSDT" / "params_BTCUSDT.json").read_text())
    assert (other["A"], other["k"]) == (params["A"], params["k"])


def test_half_a_tape_is_none(tmp_path: Path) -> None:
    tapes.plain(tmp_path, tapes.quick_tape())
    (tmp_path / "quotes_BTCUSDT.csv").unlink()
    done = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "--list"])
    assert done.exit_code == 2
    assert "trades_ and quotes_<SYMBOL>" in done.output
    assert write_tables([str(tmp_path), str(tmp_path / "o"), "--symbol", "BTCUSDT"]) == 2
