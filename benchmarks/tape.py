"""Virtual orders on tapes: do intervals hold the truth, and what does a day cost?

    python benchmarks/tape.py coverage --tapes 200
    python benchmarks/tape.py speed --hours 24

Tapes of known truth: aggressors of each side come at rate A and reach an exponential distance from
mid, so that a quote at delta ticks is hit at A exp(-k delta) exactly. ``bursts``: five times as
often in a fifth of the time, 5 s each, at the same mean. ``sweeps``: an aggressor prints at every
tick up to its reach. Speed is a ratio to reading the same files with Arrow, within one run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mm.calibration import calibrate, load, run_steps
from mm.core.settings import Settings
from mm.tape.tape import Tape
from mm.tape.virtual import Quoter, virtual_tables

A, K, TICK = 1.0, 0.4, 0.1
START_MS = 1_735_689_600_000
LADDER = (1.0, 2.0, 3.0, 5.0)


def tape(kind: str, seed: int, seconds: int, rate: float = A) -> Tape:
    """A tape on whose mid a quote at delta ticks is hit at rate exp(-K delta)."""
    rng = np.random.default_rng(seed)
    quote_ms = START_MS + np.arange(0, seconds * 1000, 100)
    mid = 1000.0 + TICK * np.cumsum(rng.integers(-1, 2, len(quote_ms))) / 4.0
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
        times = {"REQUOTE_MS": quoter.requote_ms, "HORIZON_MS": quoter.horizon_ms}
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("coverage", "speed"))
    parser.add_argument("--tapes", type=int, default=200)
    parser.add_argument("--hours", type=float, default=24.0)
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.hours)
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
