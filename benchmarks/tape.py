"""Virtual orders on tapes: do intervals hold the truth, what does a day cost, what do others say?

    python benchmarks/tape.py coverage --tapes 200
    python benchmarks/tape.py speed --hours 24
    python benchmarks/tape.py published TRADES QUOTES --tick 0.1
    python benchmarks/tape.py forecast TRADES RUNS --tick 1

Tapes of known truth: aggressors of each side come at rate A and reach an exponential distance from
mid, so that a quote at delta ticks is hit at A exp(-k delta) exactly. ``bursts``: five times as
often in a fifth of the time, 5 s each, at the same mean. ``sweeps``: an aggressor prints at every
tick up to its reach. Speed is a ratio to reading the same files with Arrow, within one run.

``published``: three definitions as their authors' code computes them, in our own words, beside
ours, in quote currency. ``forecast``: the first half of a tape, and of a backtest on it (folders
of one distance each, as long as the tape), against the first fills of the second half.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from scipy.optimize import curve_fit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mm.calibration import calibrate, estimate, load, run_steps
from mm.core.arrays import Floats
from mm.core.settings import Settings
from mm.exposure.accounts import account
from mm.fitting.fit import Fit
from mm.logs.discovery import find_symbols
from mm.logs.load import BacktestLog, load_log, log_from_frames
from mm.logs.log import RunLog
from mm.tape.read import read_tape
from mm.tape.tape import Tape
from mm.tape.virtual import Quoter, virtual_tables

A, K, TICK = 1.0, 0.4, 0.1
START_MS = 1_735_689_600_000
LADDER = (1.0, 2.0, 3.0, 5.0)


def tape(kind: str, seed: int, seconds: int, rate: float = A) -> Tape:
    """A tape on whose mid a quote at delta ticks is hit at rate exp(-K delta)."""
    rng = np.random.default_rng(seed)
    quote_ms = START_MS + np.arange(0, seconds * 1000, 100)
    steps = np.cumsum(rng.integers(-1, 2, len(quote_ms)))
    mid = np.asarray(1000.0 + TICK * steps / 4.0, dtype=np.float64)
    n = rng.poisson(2 * rate * seconds)
    at = rng.integers(1, seconds * 1000, n)
    if kind == "bursts":
        busy = rng.random(-(-seconds // 5)) < 0.2
        weight = np.where(busy, 5.0, 1.0) / (1.0 + 4.0 * busy.mean())
        slot = rng.choice(len(busy), n, p=weight / weight.sum())
        at = np.minimum(5000 * slot + rng.integers(1, 5000, n), seconds * 1000 - 1)
    trade_ms = START_MS + np.sort(at)
    sold = rng.random(n) < 0.5
    row = np.searchsorted(quote_ms, trade_ms, side="left") - 1
    reach = TICK * rng.exponential(1.0 / K, n)
    if kind == "sweeps":
        prints = np.floor(reach / TICK).astype(np.int64) + 1
        of = np.repeat(np.arange(n), prints)
        step = np.arange(len(of)) - np.repeat(np.cumsum(prints) - prints, prints)
        trade_ms, sold, row = trade_ms[of], sold[of], row[of]
        reach = np.minimum(TICK * (step + 1.0), reach[of])
    fine = TICK / 100.0
    price = np.where(sold, mid[row] - reach, mid[row] + reach) / fine
    price = np.round(np.where(sold, np.floor(price), np.ceil(price)) * fine, 6)
    return Tape(trade_ms, price, sold, quote_ms, mid - fine, mid + fine, fine)


def coverage(kind: str, tapes: int, seconds: int, quoter: Quoter) -> None:
    """Print how often intervals hold the truth."""
    held, verdicts, bias = np.zeros(3), [], np.zeros(2)
    for seed in range(tapes):
        tables = virtual_tables(tape(kind, seed, seconds), quoter)
        times: dict[str, Any] = {"REQUOTE_MS": quoter.requote_ms, "HORIZON_MS": quoter.horizon_ms}
        result = calibrate(*tables, tick_size=TICK, **times)
        fit = result.estimate.fit
        assert fit is not None
        ends = (fit.ci_A, fit.ci_k, fit.interval(3.0))
        truth = (A, K, A * np.exp(-3.0 * K))
        held += [low < value < high for (low, high), value in zip(ends, truth, strict=True)]
        bias += [fit.A / A - 1.0, fit.k / K - 1.0]
        verdicts.append(result.verdict.status)
    shares = " | ".join(f"{share:.1%}" for share in held / tapes)
    said = ", ".join(f"{word} {verdicts.count(word)}" for word in dict.fromkeys(verdicts))
    off = " | ".join(f"{b:+.1%}" for b in bias / tapes)
    print(
        f"| {kind}, {seconds / 60:g} min, {quoter.requote_ms} / {quoter.horizon_ms} ms | {tapes} | "
        f"{off} | {shares} | {said} |",
        flush=True,
    )


def speed(hours: float) -> None:
    """Print the cost of a whole calibration over that of reading its files."""
    seconds = int(hours * 3600)
    rng = np.random.default_rng(0)
    made = tape("clean", 0, seconds, rate=29.0)
    row = np.sort(rng.integers(0, len(made.quote_ms), int(10e6 * hours / 24)))
    with tempfile.TemporaryDirectory() as folder:
        trades, quotes = Path(folder, "trades_X.csv"), Path(folder, "quotes_X.csv")
        side = np.where(made.sold, "sell", "buy")
        columns = {"time": made.trade_ms, "price": made.price, "qty": 1.0 + 0.0 * made.price}
        pc.write_csv(pa.table({**columns, "side": side}), trades)
        at = made.quote_ms[row] + rng.integers(0, 100, len(row))
        order = np.argsort(at, kind="stable")
        book = {"time": at[order], "bid": made.bid[row][order], "ask": made.ask[row][order]}
        pc.write_csv(pa.table(book), quotes)
        begun = time.perf_counter()
        for path in (trades, quotes):
            pc.read_csv(path)
        reading = time.perf_counter() - begun
        settings = Settings.build(
            {
                "SYMBOL": "X",
                "BACKTEST_DIR": folder,
                "TICK_SIZE": TICK,
                "QUOTE_TICKS": "1, 2, 3, 4, 5, 6, 8, 12",
                "REQUOTE_MS": 250,
                "HORIZON_MS": 2000,
            }
        )
        begun = time.perf_counter()
        log = load(settings)
        loaded = time.perf_counter() - begun
        run_steps(log, settings)
        whole = time.perf_counter() - begun
    print(f"{len(made.trade_ms):,} prints, {len(row):,} quotes, {len(log.runs[0].orders):,} orders")
    print(f"reading {reading:.2f} s; load {loaded / reading:.1f} x, whole {whole / reading:.1f} x")


def glft_notebook(tape: Tape, tick: float) -> tuple[float, float, float]:
    """A (1/s) and k (1/half tick) of hftbacktest's GLFT notebook, and its lambda at 20 half ticks.

    Every 100 ms the farthest print from the mid at its begin, of either side, is the arrival depth;
    lambda of half tick i counts the steps that reached beyond it, over time; the log of the first
    70 is a straight line."""
    steps = np.arange(tape.start_ms, tape.end_ms, 100)
    mid = tape.mid[np.searchsorted(tape.quote_ms, steps, side="right") - 1]
    step = np.searchsorted(steps, tape.trade_ms) - 1
    inside = (step >= 0) & (tape.trade_ms <= tape.end_ms)
    away = np.where(tape.sold, -1, 1)[inside] * (tape.price[inside] - mid[step[inside]]) / tick
    depth = np.full(len(steps), -np.inf)
    np.maximum.at(depth, step[inside], away)
    reached = np.rint(depth[np.isfinite(depth)] / 0.5).astype(np.int64) - 1
    half_ticks = np.arange(min(70, reached.max()))
    beyond = np.array([(reached > i).sum() for i in half_ticks]) / (0.1 * len(steps))
    slope, level = np.polyfit(half_ticks + 0.5, np.log(beyond), 1)
    return float(np.exp(level)), float(-slope), float(beyond[19])


def virtual_probes(tape: Tape, delta: float, dwell_ms: int = 2000) -> float:
    """lambda, 1/s, of mmprototype's probes: every print at or beyond mid -/+ delta counts, with mid
    as it was when the dwell began; time never stops."""
    begin, end = tape.quote_ms[0], tape.quote_ms[-1]
    dwells = np.arange(begin, end, dwell_ms)
    mid = tape.mid[np.searchsorted(tape.quote_ms, dwells, side="right") - 1]
    row = np.searchsorted(dwells, tape.trade_ms, side="right") - 1
    inside = (row >= 0) & (tape.trade_ms <= end)
    hits = np.abs(tape.price[inside] - mid[row[inside]]) >= delta
    return float(hits.sum() / ((end - begin) / 1000.0))


def trading_intensity(tape: Tape, qty: Floats) -> tuple[float, float]:
    """alpha and kappa (per unit of price) of hummingbot's trading intensity: volume by distance
    from the mid before each print, fitted by least squares, without time."""
    row = np.searchsorted(tape.quote_ms, tape.trade_ms) - 1
    away = np.round(np.abs(tape.price - tape.mid[np.maximum(row, 0)]), 6)
    used = (row >= 0) & (away > 0)
    levels, of = np.unique(away[used], return_inverse=True)
    (alpha, kappa), _ = curve_fit(
        lambda x, a, b: a * np.exp(-b * x),
        levels,
        np.bincount(of, weights=qty[used]),
        p0=(1.0, 1.0),
        method="dogbox",
        bounds=([0, 0], [np.inf, np.inf]),
        max_nfev=100_000,
    )
    return float(alpha), float(kappa)


def published(trades: Path, quotes: Path, tick: float) -> None:
    """Print four definitions of one tape."""
    tape = read_tape(trades, quotes)
    qty = pc.read_csv(trades).column("qty").to_numpy()
    A, k, at_20 = glft_notebook(tape, tick)
    print(
        f"GLFT notebook: A {A:.3f}, k {k:.5f} per half tick ({2 * k / tick:.3f} per unit),", end=""
    )
    print(f" λ({10 * tick:g}) {at_20:.3f} /s, both sides in one")
    print(f"mmprototype's probes: λ(1) {virtual_probes(tape, 1.0):.1f} /s")
    if len(qty) == len(tape.price):
        alpha, kappa = trading_intensity(tape, qty)
        print(f"hummingbot: alpha {alpha:,.0f} of volume, kappa {kappa:.1f} per unit")
    for ms in (500, 2000, 10_000):
        for rule in ("at", "through"):
            quoter = Quoter((0.5, 1.0, 2.0, 3.0, 5.0, 8.0), ms, ms, 10, 10, rule)
            found = calibrate(
                *virtual_tables(tape, quoter), tick_size=1.0, FIT_METHOD="poisson_mle"
            )
            for name, fit in (("δ >= 0", found.estimate.fit), ("|δ|", found.estimate.emitted)):
                if fit is not None:
                    at_1 = fit.intensity(1.0)
                    print(f"ours, {rule}, {ms / 1000:g} s, {name}: ", end="")
                    print(f"A {fit.A:.3f}, k {fit.k:.3f}, λ(1) {at_1:.3f} /s")


def forecast(trades: Path, runs: Path, tick: float) -> None:
    """Print first fills of the second half by distance, and what either first half expects."""
    (symbol,) = find_symbols(runs)
    log = load_log(runs, symbol)
    begin, end = log.window_ms
    half = (begin + end) // 2
    settings = Settings.build({"TICK_SIZE": tick, "BLOCK_S": 20.0})

    def part(run: RunLog, later: bool) -> BacktestLog:
        tables = (run.orders, run.fills, run.state)
        orders, fills, state = (t[(t["recv_ms"] >= half) == later] for t in tables)
        fills = fills[fills["order_id"].isin(orders["order_id"])]
        return log_from_frames([(orders, fills, state)])

    distances = tuple(float(run.name.rpartition("_")[2]) * tick for run in log.runs)
    mornings = [part(run, later=False).runs[0] for run in log.runs]
    path = next((runs / log.runs[0].name).glob("state_*"))
    tape = read_tape(trades, path, tick).first(half - begin)
    quoter = Quoter(distances, 250, 10**8, 50, 25, "at")
    of_log = BacktestLog(symbol, tuple(mornings))
    of_tape = log_from_frames([virtual_tables(tape, quoter)])
    fits = [estimate(one, account(one, settings), settings).emitted for one in (of_log, of_tape)]
    rows = []
    for run in log.runs:
        accounts = account(part(run, later=True), settings)
        cells = accounts.exposure.cells(accounts.selection)
        expected = [_expected(fit, cells.delta, cells.exposure_s) for fit in fits]
        rows.append((float(cells.n_events), *expected))
    for name, fit in zip(("log", "tape"), fits, strict=True):
        assert fit is not None
        print(f"{name}: A {fit.A:.4f}, k {fit.k:.4f} ({fit.method})")
    for distance, (seen, *expected) in sorted(zip(distances, rows, strict=True)):
        print(f"{distance:g}: {seen:.0f} fills; log {expected[0]:.0f}, tape {expected[1]:.0f}")
    seen, *both = np.array(rows).T
    for name, of in zip(("log", "tape"), both, strict=True):
        deviance = 2.0 * float((seen * np.log(seen / of) - (seen - of)).sum())
        print(f"{name}: {of.sum():.0f} of {seen.sum():.0f} fills, deviance {deviance:.1f}")


def _expected(fit: Fit | None, delta: Floats, exposure_s: Floats) -> float:
    assert fit is not None
    return float((fit.A * np.exp(-fit.k * delta) * exposure_s).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("coverage", "speed", "published", "forecast"))
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--tick", type=float, default=0.1)
    parser.add_argument("--tapes", type=int, default=200)
    parser.add_argument("--hours", type=float, default=24.0)
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.hours)
        return
    if given.what in ("published", "forecast"):
        first, second = given.paths
        (published if given.what == "published" else forecast)(first, second, given.tick)
        return
    ladder = tuple(TICK * ticks for ticks in LADDER)
    print("| tapes | n | bias A | bias k | A in | k in | λ(3) in | verdicts |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("clean", "bursts", "sweeps"):
        for requote, horizon in ((1000, 1000), (250, 5000)):
            quoter = Quoter(ladder, requote, horizon, 0, 0, "at")
            coverage(kind, given.tapes, 1200, quoter)


if __name__ == "__main__":
    main()
