"""Which A and k forecast best? Every log cut in time, and across order policies of one market.

    python benchmarks/forecast.py data/run1=1.0 data/run2=0.1

Each argument is a folder with one symbol's log (or run folders), and the tick size. Fits on the
first part of a log are scored on its next part: halves, and each fifth by all before it; and logs
that cover the same minutes of one market (their mids are the same) by each other.

Scores are Poisson log-likelihoods per fill above a constant rate fitted on the same training part:
by placement distance, by whole-tick |distance| at the fill, and for the intensities that are shown
(which know the side of mid) of the point process itself. N and S are shares of forecasts that pass
the number and space tests of CSEP at 5 % (Schorlemmer et al. 2007; Zechar et al. 2010). Beside what
is emitted: its gain over maximum likelihood of |delta|, with the standard error over forecasts,
also given how many fills there were: what a market that got busier does to every A is left out.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mm.calibration import run_steps
from mm.core.arrays import Floats, Ints, Mask, sums_by
from mm.core.settings import Settings
from mm.diagnostics.forecast import gain, number_test, space_test
from mm.exposure.cells import Cells
from mm.exposure.distance import buckets
from mm.fitting.fit import Fit
from mm.logs.discovery import find_symbols
from mm.logs.load import BacktestLog, load_log, log_from_frames

#: Blocks a log: halves and fifths are whole numbers of them.
PARTS = 10
SHOWN = "passive + through"
CONSUMER = ("emitted", "absolute_mle", "passive_mle", "placement", "original", "ceiling")


@dataclass(frozen=True)
class Market:
    """One log, its cells with signed distances and the share of its time that each is in."""

    name: str
    symbol: str
    log: BacktestLog
    tick: float
    cells: Cells
    part: Ints
    span: tuple[int, int]


@dataclass
class Scores:
    """Of one candidate in one kind of forecast: gains weighted by fills, and tests passed."""

    fills: int = 0
    placement: float = 0.0
    at_fill: float = 0.0
    process: float = 0.0
    passed: list[tuple[bool, bool]] = field(default_factory=list)
    each: list[tuple[float, ...]] = field(default_factory=list)

    def against(self, other: Scores) -> tuple[Floats, Floats]:
        """Gain a fill over another candidate by placement and at the fill, both again given the
        number of fills, and its standard error: sqrt(sum (d_i - n_i d)^2) / sum n_i over forecasts
        of n_i fills."""
        mine, theirs = np.array(self.each), np.array(other.each)
        n, d = mine[:, 0], mine[:, 1:] - theirs[:, 1:]
        mean = d.sum(axis=0) / n.sum()
        return mean, np.sqrt(((d - n[:, None] * mean) ** 2).sum(axis=0)) / n.sum()


def settings(tick: float, span_ms: int) -> Settings:
    """Blocks of a tenth of the log."""
    return Settings.build({"TICK_SIZE": tick, "BLOCK_S": max(1.0, span_ms / 1000.0 / PARTS)})


def read(argument: str) -> Market:
    """A log by FOLDER=TICK_SIZE."""
    folder, _, tick = argument.rpartition("=")
    (symbol,) = find_symbols(Path(folder))
    log = load_log(Path(folder), symbol)
    start, end = log.window_ms
    accounts = run_steps(log, settings(float(tick), end - start)).accounts
    cells = accounts.exposure.cells(accounts.selection.both)
    n = [path.n_blocks for path in accounts.exposure.paths]
    part = np.concatenate([np.minimum(np.arange(blocks), PARTS - 1) for blocks in n])
    name = Path(folder).name
    return Market(name, symbol, log, float(tick), cells, part[cells.block], (start, end))


def before(market: Market, share: float) -> BacktestLog:
    """The log as it stood when a share of its time had gone."""
    start, end = market.span
    cut = start + round(share * (end - start))
    frames = [
        tuple(table[table["recv_ms"] < cut] for table in (run.orders, run.fills, run.state))
        for run in market.log.runs
    ]
    return log_from_frames(frames, market.symbol)


def fits(log: BacktestLog, tick: float) -> dict[str, Fit]:
    """Every candidate, the original's line and the intensity that is shown."""
    start, end = log.window_ms
    estimate = run_steps(log, settings(tick, end - start)).estimate
    found = dict(estimate.candidates)
    if estimate.emitted is not None:
        found["emitted"] = estimate.emitted
    if estimate.fit is not None:
        found[SHOWN] = estimate.fit
    old, like = estimate.original, estimate.candidates.get("absolute_mle")
    if old is not None and like is not None and math.isfinite(old.A) and math.isfinite(old.k):
        found["original"] = Fit(**{**vars(like), "A": old.A, "k": old.k})
    return found


def given_number(seen: Floats, expected: Floats) -> float:
    """sum N log(E / sum E): log-likelihood given the number of fills, but for a constant of N."""
    there = seen > 0
    share = np.maximum(expected[there], 1e-12) / expected.sum()
    return float((seen[there] * np.log(share)).sum())


def passes(seen: Floats, expected: Floats, rng: np.random.Generator) -> tuple[bool, bool]:
    """N-test and S-test at 5 %."""
    number = min(number_test(float(seen.sum()), float(expected.sum()))) > 0.025
    return number, space_test(seen, expected, rng) > 0.05


def score(
    table: dict[str, Scores], market: Market, some: Mask, trained: dict[str, Fit], constant: float
) -> None:
    """Add what each fit is worth on the chosen cells."""
    cells, rng = market.cells, np.random.default_rng(1)
    delta, seconds, n = cells.delta[some], cells.exposure_s[some], cells.events[some] * 1.0
    assert cells.level is not None
    if not n.sum():
        return
    labels = {"placement": cells.level[some], "at_fill": buckets(np.abs(delta))}
    flat = constant * seconds
    for name, fit in trained.items():
        rates = fit.rates(delta if name == SHOWN else np.abs(delta))
        expected = rates * seconds
        mine = table[name]
        mine.fills += int(n.sum())
        mine.process += gain(n, expected, flat)
        gained, shaped = {}, {}
        for kind, label in labels.items():
            _, of = np.unique(label, return_inverse=True)
            seen, given, even = (sums_by(of, v, int(of.max()) + 1) for v in (n, expected, flat))
            gained[kind] = gain(seen, given, even)
            shaped[kind] = given_number(seen, given)
            if kind == "placement":
                mine.passed.append(passes(seen, given, rng))
        mine.placement += gained["placement"]
        mine.at_fill += gained["at_fill"]
        mine.each.append((float(n.sum()), *gained.values(), *shaped.values()))


def forecasts(markets: list[Market]) -> Iterator[tuple[str, dict[str, Scores]]]:
    """Tables of halves, fifths, and of other order policies on the same minutes."""
    for title, cuts in (
        ("second half by the first", [(0.5, 1.0)]),
        ("each fifth by all before", [(i / 5, (i + 1) / 5) for i in range(1, 5)]),
    ):
        table: dict[str, Scores] = defaultdict(Scores)
        for market in markets:
            for low, high in cuts:
                first, last = round(low * PARTS), round(high * PARTS)
                past, some = market.part < first, (market.part >= first) & (market.part < last)
                trained = fits(before(market, low), market.tick)
                own = _ceiling(market, some)
                trained |= {"ceiling": own} if own is not None else {}
                score(table, market, some, trained, _constant(market, past))
        yield title, table
    table = defaultdict(Scores)
    for one in markets:
        for other in markets:
            if one is other or one.tick != other.tick or not same_market(one, other):
                continue
            everything = np.ones(len(other.part), dtype=np.bool_)
            trained = fits(one.log, one.tick)
            own = _ceiling(other, everything)
            trained |= {"ceiling": own} if own is not None else {}
            all_of_one = np.ones(len(one.part), dtype=np.bool_)
            score(table, other, everything, trained, _constant(one, all_of_one))
    if table:
        yield "another order policy, same minutes", table


def same_market(one: Market, other: Market) -> bool:
    """Whether mids agree to a tick at half of the rows of the minutes that both logs cover: spot
    and futures of one symbol do not."""
    (at, mid), (row_ms, row_mid) = (_mids(market) for market in (one, other))
    inside = (row_ms >= max(at[0], row_ms[0])) & (row_ms <= min(at[-1], row_ms[-1]))
    if not inside.any():
        return False
    known = mid[np.searchsorted(at, row_ms[inside], side="right") - 1]
    return bool(np.median(np.abs(known - row_mid[inside])) <= one.tick)


def _mids(market: Market) -> tuple[Ints, Floats]:
    runs = [run.state for run in market.log.runs]
    at = np.concatenate([state["recv_ms"].to_numpy() for state in runs])
    mid = np.concatenate([state["mid"].to_numpy(dtype=np.float64) for state in runs])
    order = np.argsort(at, kind="stable")
    return at[order], mid[order]


def _constant(market: Market, some: Mask) -> float:
    cells = market.cells
    return float(cells.events[some].sum()) / max(float(cells.exposure_s[some].sum()), 1e-9)


def _ceiling(market: Market, some: Mask) -> Fit | None:
    """The maximum likelihood of |delta| on what is scored: what no forecast could know."""
    from mm.core.errors import EstimateError
    from mm.fitting.fit import fit_poisson

    names = ("block", "side", "exposure_ms", "events", "qty")
    columns = {name: getattr(market.cells, name)[some] for name in names}
    try:
        return fit_poisson(Cells(delta=np.abs(market.cells.delta[some]), **columns))
    except EstimateError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("logs", nargs="+", metavar="FOLDER=TICK_SIZE")
    markets = [read(text) for text in parser.parse_args().logs]
    for title, table in forecasts(markets):
        print(f"\n{title}\n")
        print("| candidate | fills | by placement | at the fill | point process | N | S |")
        print("|---|---|---|---|---|---|---|")
        for name in (SHOWN, *CONSUMER):
            if name not in table:
                continue
            s = table[name]
            gains = (f"{v / s.fills:+.3f}" for v in (s.placement, s.at_fill, s.process))
            tests = (f"{sum(p[i] for p in s.passed)}/{len(s.passed)}" for i in (0, 1))
            print(f"| {name} | {s.fills:,} | {' | '.join((*gains, *tests))} |")
        mean, error = table["emitted"].against(table["absolute_mle"])
        texts = [f"{m:+.4f} ± {e:.4f}" for m, e in zip(mean, error, strict=True)]
        print(f"\nemitted against absolute_mle: by placement {texts[0]}, at the fill {texts[1]};")
        print(f"given the number of fills: by placement {texts[2]}, at the fill {texts[3]}")


if __name__ == "__main__":
    main()
