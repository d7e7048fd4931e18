"""Kill the driver with SIGKILL at random instants of a batch and look at what it left.

    python benchmarks/kills.py --kills 100 --seed 1

After each kill every symbol's folder must hold one whole result (its files as the record of a
run names them), and once the killed run's kernels are gone nothing of it may be left but what the
next run clears away. At the end one run completes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mm.simulate import Scenario, simulate  # noqa: E402  the line above finds it
from mm.simulate.write import csv_bytes  # noqa: E402

SMALL = Scenario(A=1.2, k=0.3, duration_s=60.0, state_gap_ms=200, deltas_ticks=(1.0, 3.0, 6.0))
KINDS = ("orders", "fills", "state")


def write_data(folder: Path, symbols: int) -> list[str]:
    names = [f"S{number}" for number in range(symbols)]
    for number, name in enumerate(names):
        log = simulate(SMALL, number)
        for kind in KINDS:
            (folder / f"{kind}_{name}.csv").write_bytes(csv_bytes(getattr(log, kind)))
    return names


def broken(out: Path, names: list[str]) -> list[str]:
    """What is not whole: results are four files that parse, or nothing."""
    found = []
    for name in names:
        folder = out / name
        if not folder.exists():
            continue
        files = {path.name for path in folder.iterdir()}
        whole = {
            f"calibration_{name}.ipynb",
            f"report_{name}.html",
            f"points_{name}.csv",
            f"params_{name}.json",
        }
        if files != whole:
            found.append(f"{name}: {sorted(files)}")
            continue
        json.loads((folder / f"params_{name}.json").read_text())
        json.loads((folder / f"calibration_{name}.ipynb").read_text())
        if not (folder / f"report_{name}.html").read_text().rstrip().endswith("</html>"):
            found.append(f"{name}: the report has no end")
    return found


def mine(mark: str) -> list[int]:
    """Processes that were started with this text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--symbols", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    faults = []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        place = Path(name)
        (place / "data").mkdir()
        (place / "tmp").mkdir()
        names = write_data(place / "data", options.symbols)
        out = place / "out"
        words = [sys.executable, "run_calibration.py", "--data-dir", str(place / "data")]
        words += ["--out-dir", str(out), "-p", "TICK_SIZE", "1.0", "--force"]
        env = {**os.environ, "TMPDIR": str(place / "tmp")}
        began = time.monotonic()
        subprocess.run(words, cwd=ROOT, env=env, check=True, capture_output=True)
        length = time.monotonic() - began
        for number in range(options.kills):
            process = subprocess.Popen(
                words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(float(rng.uniform(0.1, length)))
            process.send_signal(signal.SIGKILL)
            process.wait()
            give_up = time.monotonic() + 20
            while mine(str(place / "tmp")) and time.monotonic() < give_up:
                time.sleep(0.05)
            left = mine(str(place / "tmp"))
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            faults += [f"kill {number}: process {pid} lives on" for pid in left]
            faults += [f"kill {number}: {line}" for line in broken(out, names)]
            faults += [f"kill {number}: {p.name} in tmp" for p in (place / "tmp").glob("mmk-*")]
            if (number + 1) % 10 == 0:
                print(f"{number + 1} kills, {len(faults)} faults", flush=True)
        done = subprocess.run(words, cwd=ROOT, env=env, check=False, capture_output=True)
        hidden = [p.name for p in out.iterdir() if p.name.startswith(".") and p.name != ".state"]
        hidden += [p.name for p in (place / "tmp").iterdir()]
        print(f"next run: exit {done.returncode}, left: {hidden or 'nothing'}")
    print("\n".join(faults) or f"{options.kills} kills: every folder whole, nothing left")
    sys.exit(bool(faults or hidden or done.returncode))


if __name__ == "__main__":
    main()
