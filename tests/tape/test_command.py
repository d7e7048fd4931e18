"""From a tape to a report and to tables, by the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mm.calibration import load, run_steps
from mm.core.settings import Settings
from mm.pipeline.cli import main
from mm.tape.__main__ import main as write_tables
from mm.tape.log import TapeLog
from tests.support import tapes


@pytest.mark.usefixtures("shared_kernels")
def test_the_same_by_the_driver_and_as_tables(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    tapes.plain(data, tapes.quick_tape())
    chosen = {"TICK_SIZE": "1", "REQUOTE_MS": "1000", "HORIZON_MS": "1000", "QUOTE_TICKS": "1,2,3"}
    given = [part for name, value in chosen.items() for part in ("-p", name, value)]
    arguments = ["--data-dir", str(data), "--out-dir", str(out), *given]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    params = json.loads((out / "BTCUSDT" / "params_BTCUSDT.json").read_text())
    assert params["source"] == "tape"
    assert "virtual orders every 1,000 ms at 1, 2, 3 ticks" in params["virtual_orders"]
    assert set(params["inputs_sha256"]) == {"trades_BTCUSDT.csv", "quotes_BTCUSDT.csv"}
    tried = [(one["fill_rule"], one["horizon_ms"]) for one in params["alternatives"]]
    assert tried == [("at", 250), ("at", 1000), ("at", 4000), ("through", 1000)]
    front, back = params["alternatives"][1]["lambda"], params["alternatives"][3]["lambda"]
    found = {one["code"]: one for one in params["findings"]}
    assert found["queue"]["number"] == pytest.approx(front / back)
    assert (found["horizon"]["level"], found["fill_source"]["level"]) == ("note", "note")
    page = (out / "BTCUSDT" / "report_BTCUSDT.html").read_text()
    first_screen = page[: page.index("Fills per hour by distance")]
    assert "nobody&#39;s orders made this" in first_screen
    assert "fills per hour at its front" in first_screen
    assert "Other horizons and fill rules" in page
    tables, again = tmp_path / "tables", tmp_path / "again"
    assert write_tables([str(data), str(tables), "--symbol", "BTCUSDT", *given]) == 0
    arguments = ["--data-dir", str(tables), "--out-dir", str(again), *given]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    other = json.loads((again / "BTCUSDT" / "params_BTCUSDT.json").read_text())
    assert (other["A"], other["k"]) == (params["A"], params["k"])

    next_day = tapes.quick_tape(seed=2)
    for table in (next_day.trades, next_day.quotes):
        table["time"] += 86_400_000
    tapes.plain(data, next_day)
    for command in ("promote", "score"):
        done = CliRunner().invoke(main, [command, "--out-dir", str(out)])
        assert done.exit_code == 0, done.output
    (line,) = (out / "registry" / "scores.jsonl").read_text().splitlines()
    score = json.loads(line)
    settings = Settings.build({"BACKTEST_DIR": str(data), "SYMBOL": "BTCUSDT", **chosen})
    log = load(settings)
    assert score["seen"] == run_steps(log, settings).params.n_fills  # type: ignore[union-attr]
    assert score["inputs_sha256"] == log.inputs_sha256


def test_half_a_tape_is_none(tmp_path: Path) -> None:
    tapes.plain(tmp_path, tapes.quick_tape())
    (tmp_path / "quotes_BTCUSDT.csv").unlink()
    done = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "--list"])
    assert done.exit_code == 2
    assert "trades_ and quotes_<SYMBOL>" in done.output
    assert write_tables([str(tmp_path), str(tmp_path / "o"), "--symbol", "BTCUSDT"]) == 2


def test_what_nobody_chose_or_recorded_is_warned_of(tmp_path: Path) -> None:
    """No horizon is given, the queue matters on a grid of 1, prints are lost for two minutes."""
    made = tapes.quick_tape(rate=4.0, k=1.0)
    whole = made.trades["price"]
    coarse = np.where(made.trades["side"] == "sell", np.floor(whole), np.ceil(whole))
    trades = made.trades.assign(price=coarse)
    time = trades["time"] - trades["time"].iloc[0]
    quotes = {"bid": np.floor(made.quotes["bid"]), "ask": np.ceil(made.quotes["ask"])}
    recording = tapes.Recording(
        trades[(time < 60_000) | (time > 180_000)], made.quotes.assign(**quotes)
    )
    tapes.plain(tmp_path, recording)
    settings = Settings.build(
        {"BACKTEST_DIR": str(tmp_path), "TICK_SIZE": 1.0, "QUOTE_TICKS": "1,2,3"}
    )
    found = {f.code: f for f in run_steps(load(settings), settings).verdict.findings}
    assert {found[code].level for code in ("queue", "horizon", "outages")} == {"warn"}
    assert (found["queue"].number or 0.0) > 1.25
    assert found["outages"].number == pytest.approx(0.4, abs=0.02)


def test_published_definitions_stand_beside_ours(root: Path, tmp_path: Path) -> None:
    """A = 4 and k = 0.5 of each side: others say twice as much, many times as much, no rate."""
    tapes.plain(tmp_path, tapes.quick_tape(rate=4.0))
    paths = [str(tmp_path / f"{kind}_BTCUSDT.csv") for kind in ("trades", "quotes")]
    command = [sys.executable, "benchmarks/tape.py", "published", *paths]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    glft, probes, kappa, *ours = done.stdout.splitlines()
    one_side = 4.0 * np.exp(-0.5)
    assert 1.3 * one_side < float(glft.split("λ(1) ")[1].split()[0]) < 2.2 * one_side
    assert float(probes.split("λ(1) ")[1].split()[0]) > 1.8 * one_side
    assert kappa.startswith("hummingbot: alpha")
    (at,) = (line for line in ours if line.startswith("ours, at, 0.5 s, δ >= 0"))
    assert float(at.split("λ(1) ")[1].split()[0]) == pytest.approx(one_side, rel=0.2)


def test_the_clock_of_mid_is_tried_on_the_first_hour_of_a_long_tape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes.plain(tmp_path, tapes.quick_tape(rate=4.0))
    given = {"TICK_SIZE": 1.0, "QUOTE_TICKS": "1,2,3", "REQUOTE_MS": 500, "HORIZON_MS": 1000}
    settings = Settings.build({"BACKTEST_DIR": str(tmp_path), **given})
    whole = run_steps(load(settings), settings).diagnostics
    monkeypatch.setattr("mm.calibration.ALTERNATIVES_MS", 150_000)
    log = load(settings)
    part = run_steps(log, settings).diagnostics
    assert isinstance(log, TapeLog)
    assert log.begun is not None
    assert log.begun.runs[0].end_ms - log.runs[0].orders["recv_ms"].iloc[0] < 150_000
    assert whole is not None
    assert whole.clock is not None
    assert part is not None
    assert part.clock is not None
    assert part.fit == whole.fit
    assert part.clock.own.n_events < 0.7 * whole.clock.own.n_events
    assert whole.waterfall is None, "nobody's orders are in a log that the original could read"
