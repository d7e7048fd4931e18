"""Batch throughput, as ratios within one run: this driver against the ways people do it.

    python benchmarks/batch.py --symbols 24
    python benchmarks/batch.py --symbols 16 --copies-of RUN

1. run_calibration.py (warm kernels; report made in the driver);
2. `papermill` then `jupyter nbconvert --to html` for each symbol, under `xargs -P 2`;
3. papermill.execute_notebook and nbconvert in a pool of two processes.

All run the real template with all its figures, on small simulated logs or on copies of the one log
in a backtest's folder. The CPU that the cells
themselves take is measured inside the kernels, by a hook around each cell; what is over that is the
cost of a way. Compare within one run only: other work on the machine slows all of it. Ours is
the median of several, before, between and after the others.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mm.simulate import Scenario, simulate
from mm.simulate.write import csv_bytes

OURS = "run_calibration.py"
TEMPLATE = ROOT / "notebooks" / "poisson_fill_calibration.ipynb"
LOG = Scenario(A=0.5, k=0.3, duration_s=600.0, state_gap_ms=200)
BIN = Path(sys.executable).parent
#: Run by IPython in every kernel: the CPU seconds of all threads while a cell runs and is shown.
HOOK = """\
def _hook():
    import os, time
    from IPython import get_ipython
    events, spent = get_ipython().events, [0.0, 0.0, 0]
    def before(info):
        spent[1] = time.process_time()
    def after(result):
        spent[0] += time.process_time() - spent[1]
        spent[2] += 1
        if spent[2] > 3:  # no notebook but the test of the warm kernels is that short
            with open(os.path.join(os.environ["CELL_TIMES"], str(os.getpid())), "w") as file:
                file.write(str(spent[0]))
    events.register("pre_run_cell", before)
    events.register("post_run_cell", after)
_hook()
del _hook
"""


def make_data(folder: Path, n: int, copies_of: Path | None = None) -> list[str]:
    """Logs of n symbols."""
    names = [f"S{i:03d}USDT" for i in range(n)]
    folder.mkdir(parents=True)
    if copies_of:
        for path in copies_of.glob("*_*.csv*"):
            kind, _, end = path.name.partition("_")
            for name in names:
                shutil.copy(path, folder / f"{kind}_{name}.{end.partition('.')[2]}")
        return names
    for seed, name in enumerate(names):
        log = simulate(LOG, seed)
        for kind, table in (("orders", log.orders), ("fills", log.fills), ("state", log.state)):
            (folder / f"{kind}_{name}.csv").write_bytes(csv_bytes(table))
    return names


def ours(data: Path, out: Path, names: list[str], extra: list[str]) -> None:
    """One command."""
    command = [sys.executable, str(ROOT / "run_calibration.py"), "--data-dir", str(data)]
    done = subprocess.run(
        [*command, "--out-dir", str(out), "-p", "TICK_SIZE", "1.0", *extra],
        capture_output=True,
        check=True,
    )
    assert f"/{len(names)}]".encode() in done.stdout


def command_pairs(data: Path, out: Path, names: list[str]) -> None:
    """papermill and nbconvert by their commands, two symbols at a time."""
    out.mkdir()
    lines = [
        f"{shlex.quote(str(BIN / 'papermill'))} {shlex.quote(str(TEMPLATE))} {out}/{name}.ipynb "
        f"-p SYMBOL {name} -p BACKTEST_DIR {data} -p TICK_SIZE 1.0 -p REPO_ROOT {ROOT} "
        f"--no-progress-bar && {shlex.quote(str(BIN / 'jupyter'))} nbconvert --to html "
        f"{out}/{name}.ipynb"
        for name in names
    ]
    script = out / "commands"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(
        ["xargs", "-P", "2", "-I", "{}", "-d", "\n", "-a", str(script), "sh", "-c", "{}"],
        check=True,
        capture_output=True,
    )
    assert len(list(out.glob("*.html"))) == len(names)


def one_in_pool(job: tuple[str, str, str]) -> None:
    """A symbol in a pool's process."""
    data, out, name = job
    import papermill
    from nbconvert import HTMLExporter

    target = f"{out}/{name}.ipynb"
    papermill.execute_notebook(
        str(TEMPLATE),
        target,
        parameters={"SYMBOL": name, "BACKTEST_DIR": data, "TICK_SIZE": 1.0, "REPO_ROOT": str(ROOT)},
        progress_bar=False,
    )
    html, _ = HTMLExporter().from_filename(target)
    Path(out, f"{name}.html").write_text(html, encoding="utf-8")


def pool_of_two(data: Path, out: Path, names: list[str]) -> None:
    """papermill in two processes."""
    out.mkdir()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(one_in_pool, [(str(data), str(out), name) for name in names], chunksize=1)


def timed(work: Callable[[], None], folder: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds with children, and those of them inside cells."""
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-cell-times.py").write_text(HOOK, encoding="utf-8")
    times = Path(tempfile.mkdtemp(dir=folder))
    os.environ |= {"IPYTHONDIR": str(folder / "ipython"), "CELL_TIMES": str(times)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall = time.monotonic() - began
    return wall, cpu, sum(float(path.read_text()) for path in times.iterdir())


def median(found: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The median of each of the three."""
    wall, cpu, cells = (statistics.median(column) for column in zip(*found, strict=True))
    return wall, cpu, cells


def main() -> None:
    """Run the ways in turn and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, default=24)
    parser.add_argument("--copies-of", type=Path, metavar="RUN", help="a folder with one log")
    parser.add_argument("--only-ours", action="store_true")
    args = parser.parse_args()
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    with tempfile.TemporaryDirectory(prefix="batch-") as folder:
        data = Path(folder) / "data"
        names = make_data(data, args.symbols, args.copies_of)
        ways: dict[str, Callable[[], None]] = {
            OURS: lambda: ours(data, Path(folder, "ours"), names, ["--force"]),
            "the same, nothing changed": lambda: ours(data, Path(folder, "ours"), names, []),
            "run_calibration.py --kernel stock": lambda: ours(
                data, Path(folder, "stock"), names, ["--kernel", "stock"]
            ),
        }
        if not args.only_ours:
            ways |= {
                "papermill in a pool of 2": lambda: pool_of_two(data, Path(folder, "pool"), names),
                "papermill + nbconvert, xargs -P 2": lambda: command_pairs(
                    data, Path(folder, "pairs"), names
                ),
            }
        found: dict[str, list[tuple[float, float, float]]] = {}
        # Ours takes seconds where others take minutes: between them and at both ends, lest the
        # machine's mood of a moment decides.
        order = [name for way in ways for name in (way, OURS)][2:]
        for name in (OURS, *order):
            found.setdefault(name, []).append(timed(ways[name], Path(folder)))
            print(f"{name}: {found[name][-1][0] / len(names):.3f} s a symbol", file=sys.stderr)
        first = median(found[OURS])[0]
        print("| way | s a symbol | CPU s a symbol | in cells | outside | times as long |")
        print("|---|---|---|---|---|---|")
        for name, all_of_it in found.items():
            wall, cpu, cells = median(all_of_it)
            n = len(names)
            print(
                f"| {name} | {wall / n:.3f} | {cpu / n:.3f} | {cells / n:.3f} | "
                f"{(cpu - cells) / n:.3f} | {wall / first:.2f} |"
            )
        run = json.loads((Path(folder) / "ours" / "run.json").read_text(encoding="utf-8"))
        statuses = sorted({r["status"] for r in run["symbols"].values()})
        print(f"\n{len(run['symbols'])} symbols, statuses {statuses}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
