"""One long log, several ways, each in a process of its own: wall, CPU and peak memory.

    python benchmarks/large_log.py --days 10                 # 14.8 M rows, 1.3 GB of CSV
    python benchmarks/large_log.py --scaling 0.1,1,10,100 --plot docs/images/scale.png
    python benchmarks/large_log.py --days 11.6 --state-ms 10 --ways parquet   # 100 M state rows
    python benchmarks/large_log.py --days 1 --ways "ours, CSV;whole, CSV"

    python -m venv out/pandas2 && out/pandas2/bin/pip install "pandas<3" matplotlib
    python benchmarks/large_log.py --days 10 --pandas2 out/pandas2/bin/python

- ``read CSV``, ``read Parquet``: Arrow reads the same columns into memory, and nothing else.
- ``original``: the old notebook's algorithm, in pandas, from the same CSV; with ``--pandas2`` also
  with the pandas that it was written for, whose text columns hold Python's strings.
- ``ours``: load (hash, parse, every check), exact exposure, fit; from CSV, Parquet, and Parquet
  by day. ``whole``: all steps of a calibration, diagnostics and parameters included.

Only ratios within one run mean anything: other work on the machine slows all ways alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

ROWS_PER_DAY = 1.48e6
KINDS = ("orders", "fills", "state")


# --- the ways, each run in a fresh process ------------------------------------------------------


def read_csv(folder: Path) -> str:
    """The columns that ours uses, typed, into Arrow tables."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    from mm.logs.columns import TEXT, TIMES, wanted

    rows = 0
    tables = []
    for kind in KINDS:
        path = folder / f"{kind}_X.csv"
        with path.open() as file:
            header = file.readline().strip().split(",")
        names = [name for name in wanted(kind) if name in header]
        types = {
            n: pa.string() if n in TEXT else pa.int64() if n in TIMES else pa.float64()
            for n in names
        }
        options = pa_csv.ConvertOptions(column_types=types, include_columns=names)
        tables.append(pa_csv.read_csv(path, convert_options=options))
        rows += len(tables[-1])
    return f"{rows} rows"


def read_parquet(folder: Path) -> str:
    """The columns that ours uses into Arrow tables."""
    import pyarrow.parquet as pq

    from mm.logs.columns import wanted

    tables = []
    for kind in KINDS:
        file = pq.ParquetFile(folder / f"{kind}_X.parquet")
        names = [name for name in wanted(kind) if name in file.schema_arrow.names]
        tables.append(file.read(columns=names))
    return f"{sum(len(table) for table in tables)} rows"


def original(folder: Path) -> str:
    """The old notebook, statement for statement."""
    from original_notebook import run_notebook

    A, k = run_notebook(*(folder / f"{kind}_X.csv" for kind in KINDS), TICK_SIZE=1.0)
    return f"A = {A:.6g}, k = {k:.6g}"


def ours(folder: Path) -> str:
    """Load, exact exposure, fit."""
    from mm.calibration import load
    from mm.exposure.accounts import account
    from mm.fitting.fit import fit_poisson

    settings = _settings(folder)
    accounts = account(load(settings), settings)
    fit = fit_poisson(accounts.exposure.cells(accounts.selection))
    return f"A = {fit.A:.6g}, k = {fit.k:.6g}, {fit.n_events} events"


def whole(folder: Path) -> str:
    """All steps, parameters included."""
    from mm.calibration import load, run_steps

    settings = _settings(folder)
    result = run_steps(load(settings), settings)
    assert result.estimate.fit is not None
    return f"A = {result.estimate.fit.A:.6g}, {result.verdict.status}"


def _settings(folder: Path) -> object:
    from mm.core.settings import Settings

    return Settings.build({"SYMBOL": "X", "BACKTEST_DIR": str(folder), "TICK_SIZE": 1.0})


WAYS: dict[str, tuple[Callable[[Path], str], str]] = {
    "read CSV": (read_csv, "csv"),
    "original": (original, "csv"),
    "original, pandas 2": (original, "csv"),
    "ours, CSV": (ours, "csv"),
    "whole, CSV": (whole, "csv"),
    "read Parquet": (read_parquet, "parquet"),
    "ours, Parquet": (ours, "parquet"),
    "ours, by day": (ours, "by day"),
    "whole, Parquet": (whole, "parquet"),
}


#: The way that needs another environment than this one.
PANDAS2 = "original, pandas 2"


def measured(way: str, folder: Path, python: str = sys.executable) -> dict[str, float | str]:
    """Run one way in a fresh process; seconds and bytes are the system's own count."""
    command = [python, __file__, "--way", way, "--folder", str(folder)]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read().strip()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = f"failed, exit {process.returncode}"
    return {
        "way": way,
        "wall_s": time.perf_counter() - begin,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024.0,
        "said": said,
    }


def compare(
    ways: list[str], days: float, state_ms: int, room: Path, pandas2: str
) -> list[dict[str, object]]:
    """Make the log, run each way once, print as it goes."""
    from long_log import make_log

    from mm.convert import convert

    forms = tuple({"csv", "parquet"} & {WAYS[way][1].replace("by day", "csv") for way in ways})
    rows: dict[str, int] = {}
    folders = {form: room / form for form in ("csv", "parquet", "by day")}
    if "csv" in forms:
        rows = make_log(folders["csv"], days, state_ms, ("csv",))
        for form in sorted({WAYS[way][1] for way in ways} - {"csv"}):
            convert(folders["csv"], folders[form], by_day=form == "by day")
    else:
        rows = make_log(folders["parquet"], days, state_ms, ("parquet",))
    size = sum(f.stat().st_size for f in room.rglob("*") if f.is_file())
    print(f"{days:g} days: {rows}, {size / 1e9:.2f} GB on disk", flush=True)
    out: list[dict[str, object]] = []
    for way in ways:
        python = pandas2 if way == PANDAS2 else sys.executable
        found: dict[str, object] = {**measured(way, folders[WAYS[way][1]], python)}
        found |= {"rows": sum(rows.values()), "days": days, "state_ms": state_ms}
        out.append(found)
        print(
            f"{way:18s} wall {found['wall_s']:7.1f} s  CPU {found['cpu_s']:7.1f} s  "
            f"peak {found['peak_mb']:6.0f} MB  {found['said']}",
            flush=True,
        )
    return out


#: (what, way, against, field, at most): the ratio of the two.
TARGETS = [
    ("wall, CSV, against the original with pandas 2", "ours, CSV", PANDAS2, "wall_s", 1 / 3),
    ("peak memory, CSV, against the same", "ours, CSV", PANDAS2, "peak_mb", 1 / 4),
    ("wall, Parquet, against the same", "ours, Parquet", PANDAS2, "wall_s", 1 / 8),
    ("wall, CSV, against the original", "ours, CSV", "original", "wall_s", 1 / 3),
    ("peak memory, CSV, against the original", "ours, CSV", "original", "peak_mb", 1 / 4),
    ("wall, Parquet, against the original", "ours, Parquet", "original", "wall_s", 1 / 8),
    ("wall, CSV, against reading it", "ours, CSV", "read CSV", "wall_s", 2.5),
    ("wall, Parquet, against reading it", "ours, Parquet", "read Parquet", "wall_s", 2.5),
    ("CPU, CSV, against reading it", "ours, CSV", "read CSV", "cpu_s", 2.5),
    ("CPU, CSV, against the original", "ours, CSV", "original", "cpu_s", 1 / 3),
    ("CPU, CSV, whole against load and fit", "whole, CSV", "ours, CSV", "cpu_s", 1.5),
    ("peak memory, CSV, whole against load and fit", "whole, CSV", "ours, CSV", "peak_mb", 1.2),
]


def print_ratios(found: list[dict[str, object]]) -> None:
    """What was aimed at, and what was reached."""
    by_way = {str(entry["way"]): entry for entry in found}
    for what, one, other, field, most in TARGETS:
        if one in by_way and other in by_way:
            ratio = float(str(by_way[one][field])) / float(str(by_way[other][field]))
            print(f"{what}: {ratio:.2f} (aim: {most:.2f} at most)")


def plot(found: list[dict[str, object]], target: Path) -> None:
    """CPU and memory against rows."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for way in sorted({str(entry["way"]) for entry in found}):
        mine = [e for e in found if e["way"] == way and not str(e["said"]).startswith("failed")]
        x = [float(str(e["rows"])) / 1e6 for e in mine]
        left.plot(x, [float(str(e["cpu_s"])) for e in mine], "o-", label=way)
        right.plot(x, [float(str(e["peak_mb"])) / 1000 for e in mine], "o-", label=way)
    for axes, what in ((left, "CPU (s)"), (right, "peak memory (GB)")):
        axes.set(xscale="log", yscale="log", xlabel="rows of all three logs (millions)")
        axes.set_ylabel(what)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        axes.grid(alpha=0.3, which="both", linewidth=0.5)
        axes.legend(frameon=False)
    right.set_ylim(0.1, 10)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=float, default=10.0)
    parser.add_argument("--state-ms", type=int, default=100)
    parser.add_argument("--ways", default=",".join(WAYS), help="separated by ';', or a format")
    parser.add_argument("--scaling", help="millions of rows, separated by commas")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path, help="write what was measured")
    parser.add_argument("--folder", type=Path, help="where logs are made, and left")
    parser.add_argument("--pandas2", help="a Python with pandas 2, for the old notebook")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(WAYS[args.way][0](args.folder))
        return
    chosen = {"parquet": ["read Parquet", "ours, Parquet", "whole, Parquet"]}.get(args.ways)
    ways = chosen or [w for w in WAYS if args.ways == ",".join(WAYS) or w in args.ways.split(";")]
    ways = [way for way in ways if way != PANDAS2 or args.pandas2]
    sizes = [float(m) * 1e6 / ROWS_PER_DAY for m in args.scaling.split(",")] if args.scaling else []
    found: list[dict[str, object]] = []
    for days in sizes or [args.days]:
        with tempfile.TemporaryDirectory(prefix="large-log-", dir=args.folder) as room:
            found += compare(ways, days, args.state_ms, Path(room), args.pandas2)
        print_ratios(found[-len(ways) :])
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
