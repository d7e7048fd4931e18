"""Many symbols on a dask scheduler and worker processes, all started by their own commands, while
workers are killed; then what the scheduler and the publishing themselves cost.

    python benchmarks/cluster.py --symbols 40 --kill 1
    python benchmarks/cluster.py --symbols 10,30,100

Checks that every symbol completes, ends once, is published whole, and has the A and k of the local
pool. Prints seconds a symbol as JSON, which benchmarks/scheduler.py simulates larger clusters from.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from distributed import Client

from mm.pipeline.books import read_record
from mm.pipeline.publish import publish, settle, whole
from mm.simulate import Scenario, simulate
from mm.simulate.write import csv_bytes

LOG = Scenario(A=0.5, k=0.3, duration_s=600.0, state_gap_ms=200)
DASK = str(Path(sys.executable).with_name("dask"))
RESULT_BYTES = 300_000


def make_data(folder: Path, n: int) -> None:
    """Logs of n symbols: eight markets, over and over, as symbolic links."""
    folder.mkdir(parents=True)
    for i in range(n):
        for kind in ("orders", "fills", "state"):
            path = folder / f"{kind}_S{i:04d}.csv"
            if i < 8:
                path.write_bytes(csv_bytes(getattr(simulate(LOG, i), kind)))
            else:
                path.symlink_to(folder / f"{kind}_S{i % 8:04d}.csv")


@contextmanager
def cluster(folder: Path, n_workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers with nannies, which start a killed worker again."""
    file = folder / "scheduler.json"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    at = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    commands = [[DASK, "scheduler", "--port", "0", *at]]
    commands += [
        # As the local pool: a symbol waits for its kernel half of its time.
        [DASK, "worker", "--nthreads", "2", "--local-directory", str(folder), *at]
    ] * n_workers
    started = []
    with (folder / "cluster.log").open("wb") as log:
        try:
            for command in commands:
                started.append(
                    subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
                )
            while not file.exists() or not file.read_text():
                time.sleep(0.1)
            yield json.loads(file.read_text())["address"], started[1:]
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


def run(data: Path, out: Path, *extra: str) -> subprocess.Popen[str]:
    """The driver."""
    command = [sys.executable, str(ROOT / "run_calibration.py"), "--data-dir", str(data)]
    return subprocess.Popen(
        [*command, "--out-dir", str(out), "-p", "TICK_SIZE", "1.0", *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_busy(nannies: list[subprocess.Popen[bytes]], times: int, driver: Any) -> int:
    """SIGKILL workers while they run a kernel, a few seconds apart; returns how many."""
    rng, killed = random.Random(1), 0
    while killed < times and driver.poll() is None:
        time.sleep(rng.uniform(1.0, 4.0))
        for nanny in rng.sample(nannies, len(nannies)):
            busy = [
                worker
                for worker in psutil.Process(nanny.pid).children()
                if any(starter.children() for starter in worker.children())
            ]
            if busy:
                busy[0].send_signal(signal.SIGKILL)
                killed += 1
                break
    return killed


def cpu_of_children() -> float:
    """CPU seconds of all that has ended below this process; a killed worker's kernels are lost."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_size(folder: Path, n: int, workers: int, kill: int) -> dict[str, Any]:
    """n symbols on a fresh cluster and, for the same A and k, in the local pool."""
    data, out, local = folder / "data", folder / "out", folder / "local"
    make_data(data, n)
    cpu_before = cpu_of_children()
    with cluster(folder, workers) as (address, nannies):
        began = time.monotonic()
        driver = run(data, out, "--scheduler", address)
        killed = kill_busy(nannies, kill, driver)
        text, errors = driver.communicate()
        wall = time.monotonic() - began
    assert driver.returncode == 0, errors
    ended = sorted(line.split("] ")[1].split()[0] for line in text.splitlines() if line[0] == "[")
    assert ended == [f"S{i:04d}" for i in range(n)], "each ends once"
    there = json.loads((out / "run.json").read_text(encoding="utf-8"))["symbols"]
    for symbol in ended:
        record = read_record(out, symbol)
        assert record is not None
        assert whole(out / symbol, record.outputs)
    cluster_cpu = cpu_of_children() - cpu_before
    began, cpu_before = time.monotonic(), cpu_of_children()
    pool = run(data, local)
    pool.communicate()
    here, local_cpu = time.monotonic() - began, cpu_of_children() - cpu_before
    same = json.loads((local / "run.json").read_text(encoding="utf-8"))["symbols"]
    for symbol in ended:
        assert (there[symbol]["A"], there[symbol]["k"]) == (same[symbol]["A"], same[symbol]["k"])
    return {
        "symbols": n,
        "killed": killed,
        "cluster_s": round(wall / n, 3),
        "cluster_cpu_s": round(cluster_cpu / n, 3),
        "local_s": round(here / n, 3),
        "local_cpu_s": round(local_cpu / n, 3),
        "seconds": [record["seconds"] for record in there.values()],
    }


def answer(_number: int) -> dict[str, bytes]:
    """A finished symbol's size, without the work."""
    return {"files": bytes(RESULT_BYTES)}


def overhead(folder: Path, n: int) -> dict[str, float]:
    """ms a symbol for the scheduler's part (to a worker and back) and for publishing."""
    folder.mkdir()
    with cluster(folder, 2) as (address, _), Client(address, set_as_default=False) as client:
        client.wait_for_workers(2)
        client.submit(answer, -1, pure=False).result()
        began = time.monotonic()
        futures = [client.submit(answer, i, pure=False) for i in range(n)]
        submitted = time.monotonic()
        for future in futures:
            future.result()
        fetched = time.monotonic()
    began_publish = time.monotonic()
    for i in range(n):
        stage = folder / f".staging-{i}"
        stage.mkdir()
        for part in range(4):
            (stage / f"{part}").write_bytes(bytes(RESULT_BYTES // 4))
        settle(stage)
        publish(stage, folder / f"S{i}")
    return {
        "submit_ms": round(1e3 * (submitted - began) / n, 3),
        "through_scheduler_ms": round(1e3 * (fetched - began) / n, 3),
        "publish_ms": round(1e3 * (time.monotonic() - began_publish) / n, 3),
    }


def main() -> None:
    """Run the sizes in turn and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", default="40", help="how many; several sizes with commas")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", type=int, default=1, help="workers to kill while they are busy")
    parser.add_argument("--overhead", type=int, default=300, help="tasks to measure overhead with")
    args = parser.parse_args()
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    for n in filter(None, map(int, args.symbols.split(","))):
        with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
            found = one_size(Path(folder), n, args.workers, args.kill)
        seconds = found.pop("seconds")
        quantiles = statistics.quantiles(seconds, n=20)
        told = {"median": statistics.median(seconds), "p95": quantiles[-1], "max": max(seconds)}
        print(json.dumps({**found, "seconds": told}), flush=True)
    if args.overhead:
        with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
            print(json.dumps(overhead(Path(folder) / "overhead", args.overhead)))


if __name__ == "__main__":
    main()
