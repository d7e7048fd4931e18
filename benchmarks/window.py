"""A window of days that rolls on by one: from scratch, and with what is kept of the other days.

    python benchmarks/window.py --days 30 [--block-s 600] [--format csv|parquet|both]

Each day is a run folder of 1.48 M rows (``long_log``). The window of days 1 to N is calibrated to
fill the cache, then that of days 2 to N + 1, with it and without, and the last day alone, each in
a process of its own: seconds by wall and CPU, and peak memory. The two windows' A and k are equal
to the last digit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def make_days(room: Path, n: int, form: str) -> list[Path]:
    """Run folders of a market that goes on from day to day."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from long_log import days

    folders = []
    for number, tables in enumerate(days(n), start=1):
        folders.append(room / f"day{number:03d}")
        folders[-1].mkdir(parents=True)
        for kind, table in tables.items():
            if form == "parquet":
                pq.write_table(table, folders[-1] / f"{kind}_X.parquet")
            else:
                pa.csv.write_csv(
                    table,
                    folders[-1] / f"{kind}_X.csv",
                    pa.csv.WriteOptions(quoting_style="none"),
                )
    return folders


def window(room: Path, name: str, folders: list[Path]) -> Path:
    """A data folder of some of the days."""
    place = room / name
    place.mkdir()
    for folder in folders:
        (place / folder.name).symlink_to(folder, target_is_directory=True)
    return place


def calibrated(data: str, block_s: float) -> None:
    """One calibration, all steps; prints A and k with all their digits."""
    from mm.calibration import load, run_steps, value
    from mm.core.settings import Settings

    given = {"SYMBOL": "X", "BACKTEST_DIR": data, "TICK_SIZE": 1.0, "BLOCK_S": block_s}
    settings = Settings.build(given)
    result = run_steps(load(settings), settings)
    value(result.log, result.accounts, settings)
    assert result.params is not None
    print(result.params.A.hex(), result.params.k.hex())


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds, MB (2^20 bytes), and what it said."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    said: str


def measured(data: Path, block_s: float, kept: Path | None) -> Cost:
    """Run one calibration in a process of its own; costs are the system's own count."""
    from mm.core.places import KEPT

    command = [sys.executable, __file__, "--data", str(data), "--block-s", str(block_s)]
    env = {**os.environ, KEPT: str(kept or "")}
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        said = process.stdout.read().strip()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024.0, said)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--block-s", type=float, default=60.0)
    parser.add_argument("--format", choices=("csv", "parquet", "both"), default="both")
    parser.add_argument("--folder", type=Path, help="where logs are made, for a while")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.data:
        calibrated(args.data, args.block_s)
        return
    for form in ("csv", "parquet") if args.format == "both" else (args.format,):
        with tempfile.TemporaryDirectory(prefix="window-", dir=args.folder) as place:
            print(form)
            compare(Path(place), args.days, form, args.block_s)


def compare(room: Path, n_days: int, form: str, block_s: float) -> None:
    """Measure the four of one format, and say so."""
    days = make_days(room / "days", n_days + 1, form)
    before, now = window(room, "before", days[:-1]), window(room, "now", days[1:])
    cache = room / "cache"
    costs = {
        "first night": measured(before, block_s, cache),
        "one new day": measured(now, block_s, cache),
        "from scratch": measured(now, block_s, None),
        "the day alone": measured(days[-1], block_s, None),
    }
    size = sum(path.stat().st_size for path in cache.iterdir())
    for name, cost in costs.items():
        print(
            f"{name:13s}  wall {cost.wall_s:6.1f} s  CPU {cost.cpu_s:6.1f} s  "
            f"peak {cost.peak_mb:5.0f} MB"
        )
    new, scratch, alone = (costs[n] for n in ("one new day", "from scratch", "the day alone"))
    same = "the same digits" if new.said == scratch.said else "OTHER DIGITS"
    print(
        f"from scratch over one new day: wall {scratch.wall_s / new.wall_s:.1f}, CPU "
        f"{scratch.cpu_s / new.cpu_s:.1f}, memory {scratch.peak_mb / new.peak_mb:.1f}; one new day "
        f"over the day alone: CPU {new.cpu_s / alone.cpu_s:.1f}, memory "
        f"{new.peak_mb / alone.peak_mb:.1f}; {same}; cache {size / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
