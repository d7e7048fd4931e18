"""How many workers pay: a discrete-event simulation of a night on a dask cluster.

    python benchmarks/scheduler.py --symbols 10000 --median 1.3 --p95 1.8

One driver submits, one scheduler passes tasks on and results back, workers take a log-normal time a
symbol (median and 95 % point as `benchmarks/cluster.py` measures them), the driver publishes
sixteen at a time. Workers die at random and come back; what they ran is run again. The scheduler is
one process: the sum of its handling is the floor that no number of workers goes below.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

PUBLISHERS = 16


@dataclass(frozen=True)
class Costs:
    """Seconds: per symbol on a worker (median and 95 % point), for the scheduler and the driver to
    handle it, to publish it; to start a worker's warm kernels; of a worker's mean life."""

    median: float
    p95: float
    scheduler: float
    publish: float
    warm_up: float
    life: float


def night(n_symbols: int, n_workers: int, costs: Costs, seed: int) -> tuple[float, int]:
    """Seconds until the last symbol is published, and how many were run again."""
    rng = np.random.default_rng(seed)
    sigma = math.log(costs.p95 / costs.median) / 1.645
    order = itertools.count()  # of events at one instant
    events: list[tuple[float, int, str, int, int]] = []
    waiting, idle = deque(range(n_symbols)), list[int]()
    scheduler_free, again, published = 0.0, 0, 0
    publishers = [0.0] * PUBLISHERS

    def assign(worker: int, now: float) -> None:
        """The scheduler hands out the next symbol when it gets to it; the worker may die first."""
        nonlocal scheduler_free
        if not waiting:
            idle.append(worker)
            return
        symbol = waiting.popleft()
        scheduler_free = max(scheduler_free, now) + costs.scheduler / 2
        took = costs.median * math.exp(sigma * rng.standard_normal())
        life = rng.exponential(costs.life)
        at, what = scheduler_free + min(took, life), "done" if life > took else "died"
        heapq.heappush(events, (at, next(order), what, worker, symbol))

    for worker in range(n_workers):
        heapq.heappush(events, (costs.warm_up, next(order), "warm", worker, -1))
    while events:
        clock, _, what, worker, symbol = heapq.heappop(events)
        if what == "died":
            waiting.append(symbol)
            again += 1
            heapq.heappush(events, (clock + costs.warm_up, next(order), "warm", worker, -1))
            if idle:
                assign(idle.pop(), clock)
            continue
        if what == "done":
            # The result comes back through the scheduler, then a publisher takes it.
            scheduler_free = max(scheduler_free, clock) + costs.scheduler / 2
            free = max(heapq.heappop(publishers), scheduler_free)
            heapq.heappush(publishers, free + costs.publish)
            published += 1
        assign(worker, clock)
    assert published == n_symbols
    return max(publishers), again


def main() -> None:
    """Print a table over the number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--median", type=float, default=1.3, help="s a symbol on one core")
    parser.add_argument("--p95", type=float, default=1.8)
    parser.add_argument("--scheduler-ms", type=float, default=4.0, help="handling a symbol")
    parser.add_argument("--publish-ms", type=float, default=20.0)
    parser.add_argument("--warm-up", type=float, default=3.0, help="s until a worker is warm")
    parser.add_argument("--life-h", type=float, default=24.0, help="a worker's mean life")
    args = parser.parse_args()
    costs = Costs(
        args.median,
        args.p95,
        args.scheduler_ms / 1e3,
        args.publish_ms / 1e3,
        args.warm_up,
        args.life_h * 3600,
    )
    mean = args.median * math.exp(0.5 * (math.log(args.p95 / args.median) / 1.645) ** 2)
    print(f"{args.symbols} symbols of {mean:.2f} s: {args.symbols * mean / 3600:.1f} core hours\n")
    print("| workers | minutes | of the cores used | run again |")
    print("|---|---|---|---|")
    for n_workers in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
        seconds, again = night(args.symbols, n_workers, costs, 1)
        busy = args.symbols * mean / (n_workers * seconds)
        print(f"| {n_workers} | {seconds / 60:.1f} | {100 * busy:.0f} % | {again} |", flush=True)
    floor = max(costs.scheduler, costs.publish / PUBLISHERS)
    print(f"\nnever below {args.symbols * floor / 60:.1f} min: {1 / floor:.0f} symbols a second")


if __name__ == "__main__":
    main()
