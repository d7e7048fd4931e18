"""The trust table: bias, coverage and warnings of the whole calibration on known truths.

    python benchmarks/coverage.py --seed 1 --out docs/trust.md

Each cell simulates independent logs and calibrates each as a user would; short runs of it are in
the tests. Two generators share no code with the estimator nor with each other: ``mm.simulate``,
and that of ``known_truths.py`` for what the first can't make. About twenty minutes of one core.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parent))

from known_truths import CELLS, Cell

from mm.calibration import run_steps
from mm.core.errors import EstimateError
from mm.core.settings import Settings
from mm.exposure.cells import Cells
from mm.fitting.consumer import BLEND, fit_by_placement
from mm.fitting.fit import Fit, fit_poisson
from mm.logs.load import log_from_frames

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Fitted:
    """A and k with their intervals, and that of λ at three ticks, 1/s."""

    A: float
    k: float
    ci_A: Interval
    ci_k: Interval
    ci_3: Interval

    @classmethod
    def of(cls, fit: Fit) -> Fitted:
        """What the table needs of a fit."""
        return cls(fit.A, fit.k, fit.ci_A, fit.ci_k, fit.interval(3.0))


@dataclass(frozen=True)
class Drawn:
    """One calibrated log. ``through``: the rate of through-fills and its interval; ``sums``:
    signed distance, level, exposure in ms and events, for the limits."""

    shown: Fitted | None
    emitted: Fitted | None
    through: tuple[float, Interval] | None
    n: int
    status: str
    codes: tuple[str, ...]
    sums: tuple[Floats, ...]


def draw(job: tuple[int, int, int]) -> Drawn:
    """Simulate and calibrate one log: (cell number, run number, seed)."""
    number, run, seed = job
    cell = CELLS[number]
    # By name, so that a cell's logs stay the same when others come and go.
    tables = cell.runs(seed * 1_000_003 + zlib.crc32(cell.name.encode()) + run)
    settings = Settings.build({"TICK_SIZE": 1.0, **dict(cell.settings)})
    result = run_steps(log_from_frames(tables), settings)
    estimate, rate = result.estimate, result.estimate.through
    cells = result.accounts.exposure.cells(estimate.selection.both)
    level = cells.delta if cells.level is None else cells.level
    kinds, of = np.unique(
        np.column_stack([np.round(cells.delta, 2), level]), axis=0, return_inverse=True
    )
    of = of.ravel()
    sums = (
        kinds[:, 0],
        kinds[:, 1],
        np.bincount(of, weights=cells.exposure_ms),
        np.bincount(of, weights=cells.events),
    )
    return Drawn(
        Fitted.of(estimate.fit) if estimate.fit else None,
        Fitted.of(estimate.emitted) if estimate.emitted else None,
        (rate.rate, rate.interval) if rate else None,
        estimate.n_events,
        result.verdict.status,
        tuple(sorted({f.code for f in result.verdict.reasons})),
        sums,
    )


def limits(drawn: Sequence[Drawn]) -> tuple[Pair, Pair]:
    """(A, k) that the shown and the emitted fit tend to: those of all logs of a cell together."""
    delta, level, ms, n = (
        np.concatenate(column) for column in zip(*(d.sums for d in drawn), strict=True)
    )

    def cells(some: NDArray[np.bool_]) -> Cells:
        zero = np.zeros(int(some.sum()), dtype=np.int64)
        whole = (v[some].astype(np.int64) for v in (ms, n))
        placed = level[some].astype(np.int64)
        return Cells(
            zero, zero.astype(np.int8), np.abs(delta[some]), *whole, zero * 1.0, level=placed
        )

    try:
        shown = fit_poisson(cells(delta >= 0))
    except EstimateError:
        return (math.nan, math.nan), (math.nan, math.nan)
    try:
        emitted = fit_by_placement(cells(delta == delta), BLEND, "blend")
    except EstimateError:
        return (shown.A, shown.k), (math.nan, math.nan)
    return (shown.A, shown.k), (emitted.A, emitted.k)


def inside(value: float, interval: Interval) -> bool:
    """Whether an interval covers a value."""
    return interval[0] <= value <= interval[1]


def columns(fits: Sequence[Fitted | None], truth: Pair) -> str:
    """Bias of A and k, and shares of intervals that hold A, k and λ(3), over logs with a fit."""
    there = [fit for fit in fits if fit is not None]
    A, k = truth
    if not there or not math.isfinite(A):
        return "– | – | – | – | –"
    at_3 = A * math.exp(-3.0 * k)
    held = [
        np.mean([inside(A, f.ci_A) for f in there]),
        np.mean([inside(k, f.ci_k) for f in there]),
        np.mean([inside(at_3, f.ci_3) for f in there]),
    ]
    bias = (np.mean([f.A for f in there]) / A - 1.0, np.mean([f.k for f in there]) / k - 1.0)
    return " | ".join([f"{b:+.1%}" for b in bias] + [f"{share:.1%}" for share in held])


def shares(drawn: Sequence[Drawn]) -> dict[str, float]:
    """Share of logs by status."""
    return {s: float(np.mean([d.status == s for d in drawn])) for s in ("ok", "warn", "refused")}


def line(cell: Cell, drawn: Sequence[Drawn]) -> str:
    """One row of the table."""
    runs, exact = len(drawn), cell.A is not None and cell.k is not None
    truth = (cell.A, cell.k) if cell.A is not None and cell.k is not None else None
    limit_shown, limit_emitted = limits(drawn)
    shown = truth or limit_shown
    emitted = truth if truth and cell.exact_emitted else limit_emitted
    against = f"{'truth' if exact else 'limit'} {shown[0]:.4g}, {shown[1]:.3g}"
    if emitted != shown:
        against += f"; emitted: limit {emitted[0]:.4g}, {emitted[1]:.3g}"
    if cell.through is not None:
        rates = [d.through for d in drawn if d.through is not None]
        bias = float(np.mean([rate for rate, _ in rates])) / cell.through - 1.0
        held = float(np.mean([inside(cell.through, interval) for _, interval in rates]))
        against += f"; λ_through = {cell.through:g}: bias {bias:+.1%}, in {held:.1%}"
    codes = Counter(code for d in drawn for code in d.codes)
    listed = ", ".join(f"{code} {count / runs:.1%}" for code, count in codes.most_common(6))
    status = " | ".join(f"{share:.1%}" for share in shares(drawn).values())
    fitted = sum(d.shown is not None for d in drawn)
    counted = f"{runs:,}" if fitted == runs else f"{runs:,}, {fitted} with a fit"
    return (
        f"| {cell.name} | {counted} | {np.mean([d.n for d in drawn]):,.0f} | {against} "
        f"| {columns([d.shown for d in drawn], shown)} "
        f"| {columns([d.emitted for d in drawn], emitted)} | {status} | {listed or '–'} |"
    )


def claim(cell: Cell, drawn: Sequence[Drawn]) -> str | None:
    """What is claimed of a cell, and whether it holds here; None where nothing is."""
    not_ok = float(np.mean([d.status != "ok" for d in drawn]))
    if cell.warned is not None:
        met = not_ok >= cell.warned
        said = f"must be warned of or refused in {cell.warned:.0%}, is in {not_ok:.1%}"
    elif cell.role == "clean":
        met = not_ok <= 0.025
        said = f"may be warned of or refused in 2.5%, is in {not_ok:.1%}"
    elif cell.held is not None and cell.A is not None and cell.k is not None:
        at_3 = cell.A * math.exp(-3.0 * cell.k)
        share = float(np.mean([inside(at_3, d.shown.ci_3) for d in drawn if d.shown]))
        met = share >= cell.held or not_ok >= 0.9
        said = (
            f"must hold λ(3) in {cell.held:.0%} or be warned of in 90%: {share:.1%}, {not_ok:.1%}"
        )
    else:
        return None
    return f"- {'met' if met else '**not met**'}: {cell.name}: {said}"


TITLES = {
    "clean": "The model is true: a warning is a false alarm",
    "power": "The model is not true: a log that is called ok is a miss",
    "losing": "Hard cases",
}

#: What stands below this line is kept.
BELOW = "<!-- below: not written by benchmarks/coverage.py -->\n"

HEAD = """# Trust table

Whole calibrations of simulated logs with known truth: bias of A and k, coverage of their reported
95 % intervals, and what the verdict said.

Made by `{command}`;
the second column counts the logs. Of 1,000 logs a coverage of 95 % is known to ± 1.4 points, of
400 to ± 2.1.

## How to read it

*bias* is of the mean estimate, *in* the share of 95 % intervals that hold what the row is held
against: first of the shown fit (quotes on their own side of mid), then of the emitted A and k (for
a backtester that knows |δ| only). *λ(3)* is the rate at three ticks: where a desk quotes, and
better known than A, which is extrapolated to mid. *held against*: A in 1/s and k in 1/tick, the
*truth* or, where no A and k are true, the *limit*, the same fit of all logs of the row together.
A limit is what the estimate tends to, not what it should: bias and coverage against it say
nothing on whether the numbers may be used, the verdict's columns do. Logs without a fit are not
in bias and coverage; refused ones with a fit are.
"""

TABLE = """
| scenario | logs | fills | held against | bias A | bias k | A in | k in | λ(3) in \
| emitted: bias A | bias k | A in | k in | λ(3) in | ok | warn | refused | reasons |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def document(found: dict[int, list[Drawn]], command: str) -> str:
    """The page: a table for each role, and the claims."""
    text = HEAD.format(command=command)
    for role, title in TITLES.items():
        rows = [line(CELLS[i], drawn) for i, drawn in found.items() if CELLS[i].role == role]
        text += f"\n## {title}\n" + TABLE + "\n".join(rows) + "\n"
        text += NOTES[role]
    claims = [said for i, drawn in found.items() if (said := claim(CELLS[i], drawn))]
    return text + "\n## Claims\n\n" + "\n".join(claims) + "\n"


NOTES = {
    "clean": "",
    "power": """
In bursts the pooled fit tends to a limit of its own, below the time average of A: quotes fill at
once in busy time and so see little of it.
""",
    "losing": """
Where it loses. Of few fills the mean A and k are too high, and k is often not told from 0. The
level of a log shorter than its own memory (slow Hawkes) is held in 88 % of these logs, less than
claimed; the verdict calls most of them ok, with a note.
Passive fills and those of quotes that mid has run through are told apart by the shown fit; no A and
k of |δ| hold both, so the emitted ones tend to something else, and the log is warned of. A k that
is small but not 0 is not told from 0 in most logs of 11 minutes. Orders that one print sweeps fill
together: intervals allow for that, out of sample calls 2 % of such logs changed that are not.
Quotes at one distance say nothing of k: such logs are refused.
""",
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="logs of a clean cell")
    parser.add_argument("--others", type=int, default=100, help="logs of any other cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", help="numbers of cells, comma-separated; all by default")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chosen = [int(c) for c in args.cells.split(",")] if args.cells else range(len(CELLS))
    found: dict[int, list[Drawn]] = {}
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for i in chosen:
            runs = args.runs if CELLS[i].role == "clean" else args.others
            jobs = [(i, run, args.seed) for run in range(runs)]
            found[i] = pool.map(draw, jobs, chunksize=max(1, runs // 40))
            print(line(CELLS[i], found[i]), flush=True)
    if args.out:
        command = (
            f"python benchmarks/coverage.py --runs {args.runs} --others {args.others} "
            f"--seed {args.seed}"
        )
        before = args.out.read_text(encoding="utf-8") if args.out.exists() else ""
        kept = BELOW + before.partition(BELOW)[2]
        args.out.write_text(f"{document(found, command)}\n{kept}", encoding="utf-8")


if __name__ == "__main__":
    main()
