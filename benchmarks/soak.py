"""Long runs and hard ends: what is left of memory, processes, sockets and files afterwards.

    python benchmarks/soak.py many --symbols 500
    python benchmarks/soak.py kills --times 80

`many` runs that many small symbols once and watches the driver and its kernels; then again, with
nothing changed. `kills` ends batches, promotions and rollbacks at random moments, by SIGINT as
Ctrl-C sends it and by SIGKILL, and looks at what is left: results, history and what is live; the
last run goes on. Both exit 1 if anything is not as it should be. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mm.pipeline.books import read_record
from mm.pipeline.history import HISTORY, read
from mm.pipeline.publish import whole
from mm.registry.store import REGISTRY, Registry
from mm.simulate import Scenario, simulate
from mm.simulate.write import csv_bytes

SMALL = Scenario(A=1.2, k=0.3, duration_s=90.0, state_gap_ms=300, deltas_ticks=(1.0, 3.0, 6.0))
MARK = "MM_SOAK"  # in the environment of all that a run starts
GRACE_S = 10.0
LOGS = 16  # different ones; symbols beyond share them


def make_data(folder: Path, symbols: int) -> None:
    """Small logs of this many symbols."""
    folder.mkdir(parents=True)
    logs = [simulate(SMALL, seed) for seed in range(min(symbols, LOGS))]
    for number in range(symbols):
        log = logs[number % LOGS]
        for kind, table in (("orders", log.orders), ("fills", log.fills), ("state", log.state)):
            (folder / f"{kind}_S{number:03d}.csv").write_bytes(csv_bytes(table))


@dataclass
class Field:
    """A folder with data, results and a temporary directory of its own."""

    folder: Path
    mark: str = field(default_factory=lambda: f"{os.getpid()}.{time.monotonic_ns()}")

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / "out"

    @property
    def temp(self) -> Path:
        """TMPDIR of the runs."""
        return self.folder / "tmp"

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a batch in a session of its own."""
        data = self.folder / "data"
        return self.call("-p", "TICK_SIZE", "1.0", "--data-dir", str(data), *options)

    def call(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own."""
        self.temp.mkdir(exist_ok=True)
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "run_calibration.py"), *words, "--out-dir", self.out],
                env=os.environ | {MARK: self.mark, "TMPDIR": str(self.temp)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[int]:
        """Living processes that a run of this field started."""
        wanted, found = f"{MARK}={self.mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:  # it ended, or isn't ours
                continue
        return found

    def open_to_others(self) -> set[str]:
        """Temporary folders that another user could enter."""
        found = set()
        for path in self.temp.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found |= {path.name} if path.stat().st_mode & 0o077 else set()
        return found

    def leftovers(self, *, staging: bool) -> list[str]:
        """What should not be there after a run; waits a moment for what is on its way out."""
        give_up = time.monotonic() + GRACE_S
        while (self.processes() or any(self.temp.iterdir())) and time.monotonic() < give_up:
            time.sleep(0.02)
        found = [f"process {pid}" for pid in self.processes()]
        found += [f"temporary {path.name}" for path in self.temp.iterdir()]
        if staging:
            own = {".state", REGISTRY}  # the registry's next command clears its own
            hidden = (p for p in self.out.rglob(".*") if own.isdisjoint(p.parts))
            found += [f"half-made {path.name}" for path in hidden]
        return found

    def broken(self) -> list[str]:
        """Symbols whose folder is not as it was published, or half of it. Raises pyarrow's errors
        where a part of the history is not whole."""
        found = []
        for folder in self.out.glob("[!.]*/"):
            if folder.name == HISTORY:
                read(self.out)
            if folder.name in (HISTORY, REGISTRY):
                continue
            record = read_record(self.out, folder.name)
            if record is not None and whole(folder, record.outputs):
                continue
            # Published, and killed before its record was written: complete all the same.
            try:
                json.loads((folder / f"params_{folder.name}.json").read_text())
                report = (folder / f"report_{folder.name}.html").read_text()
                json.loads((folder / f"calibration_{folder.name}.ipynb").read_text())
            except (OSError, ValueError):
                found.append(folder.name)
            else:
                found += [] if report.rstrip().endswith("</html>") else [folder.name]
        return [*found, *self.not_live()]

    def not_live(self) -> list[str]:
        """Where what is live is not what the journal's releases come to. Raises CalibrationError
        where a version or a line of the journal is not whole."""
        registry = Registry(self.out / REGISTRY)
        live: dict[str, str | None] = {}
        for release in registry.journal():
            live |= {symbol: after for symbol, (_, after) in release.changed.items()}
        for symbol, version in registry.live().items():
            registry.params(symbol, version)
        wanted = {symbol: version for symbol, version in live.items() if version}
        return [] if registry.live() == wanted else [f"live is {registry.live()}, not {wanted}"]

    def parts(self) -> set[str]:
        """Files of the history."""
        return {path.name for path in (self.out / HISTORY).glob("[!.]*.parquet")}


def pss_mb(pid: int) -> float | None:
    """Proportional set size of a process, MB."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return None
    return None


def many(symbols: int, options: list[str]) -> list[str]:
    """One run of many symbols, watched, and one with nothing to do."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        place = Field(Path(name))
        make_data(place.folder / "data", symbols)
        began = time.monotonic()
        driver = place.start(*options)
        own: list[tuple[int, float]] = []
        highest = 0.0
        listening: set[str] = set()
        open_to_others: set[str] = set()
        while driver.poll() is None:
            done = (place.folder / "log").read_bytes().count(b"[")
            for pid in place.processes():
                used = pss_mb(pid)
                try:
                    process = psutil.Process(pid)
                    server, found = process.ppid(), process.net_connections("inet")
                except psutil.Error:
                    continue
                listening |= {str(c.laddr) for c in found if c.status == psutil.CONN_LISTEN}
                if used is None:
                    continue
                if pid == driver.pid:
                    own.append((done, used))
                elif server != driver.pid:  # the kernel server's children are the kernels
                    highest = max(highest, used)
            open_to_others |= place.open_to_others()
            time.sleep(0.5)
        took = time.monotonic() - began
        run = json.loads((place.out / "run.json").read_text())["symbols"]
        statuses = Counter(record["status"] for record in run.values())
        # Imports and the first notebooks are no growth: from the 5th percent of symbols on.
        settled = [used for done, used in own if done >= symbols / 20]
        growth = max(settled) - settled[0]
        last = settled[-1] - settled[0]
        print(f"{symbols} symbols in {took:.0f} s ({took / symbols:.2f} s each): {dict(statuses)}")
        print(f"driver: {settled[0]:.0f} MB, grew by {last:.1f} MB, at most {growth:.1f} MB")
        print(f"largest kernel: {highest:.0f} MB PSS")
        if statuses.keys() - {"ok", "warn"} or len(run) != symbols or driver.returncode:
            problems.append(f"exit code {driver.returncode}, statuses {dict(statuses)}")
        if growth >= 50.0:
            problems.append(f"the driver grew by {growth:.0f} MB")
        if highest >= 150.0:
            problems.append(f"a kernel took {highest:.0f} MB")
        problems += [f"listening on {address}" for address in sorted(listening)]
        problems += [f"{name} is open to others" for name in sorted(open_to_others)]
        problems += place.leftovers(staging=True) + place.broken()

        seen = set()
        again = place.start(*options)
        while again.poll() is None:
            seen |= set(place.processes()) - {again.pid}
            time.sleep(0.02)
        began = time.monotonic()
        place.start(*options).wait()  # unwatched: watching takes time
        took = time.monotonic() - began
        print(f"again, nothing changed: {took:.2f} s, {len(seen)} processes started")
        if seen or f"{symbols} unchanged" not in (place.folder / "log").read_text():
            problems.append("the second run did something")
    return problems


def kills(symbols: int, times: int, seed: int) -> list[str]:
    """Commands that are ended at random moments, and a batch that goes on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    problems: list[str] = []
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    slowest = 0.0
    commands = {
        "batch": ("--force", "--jobs", "2"),
        "promote": ("promote", "--force", "--reason", "soak"),
        "rollback": ("rollback",),
    }
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        place = Field(Path(name))
        make_data(place.folder / "data", symbols)

        def start(what: str) -> subprocess.Popen[bytes]:
            return (place.start if what == "batch" else place.call)(*commands[what])

        whole_s = {}
        for what in ("batch", "promote", "batch", "promote", "rollback"):
            began = time.monotonic()
            if start(what).wait():
                return [f"the first {what} failed: " + (place.folder / "log").read_text()]
            whole_s[what] = time.monotonic() - began
        number = 0
        while number < times:
            what = rng.choice(list(commands))
            sent = rng.choice([signal.SIGINT, signal.SIGKILL])
            parts = place.parts()
            driver = start(what)
            waited = rng.uniform(0.4, 1.1 * whole_s[what])
            time.sleep(waited)
            if driver.poll() is None:
                number += 1
                asked = time.monotonic()
                # Ctrl-C goes to the terminal's whole process group.
                (os.killpg if sent == signal.SIGINT else os.kill)(driver.pid, sent)
                driver.wait()
                if sent == signal.SIGINT:
                    slowest = max(slowest, time.monotonic() - asked)
                expected = {signal.SIGINT: {130, 0}, signal.SIGKILL: {-9, 0}}[sent]
            else:
                sent, expected = None, {0}
                whole_s[what] = min(whole_s[what], waited)
            # Nothing to take back; nothing to promote, as a batch that was killed left no books.
            expected |= {"batch": set[int](), "promote": {3}, "rollback": {2}}[what]
            text = (place.folder / "log").read_text(errors="replace")
            ended = sent.name if sent else "ran to its end"
            ends[f"{what}, {ended}: exit {driver.returncode}"] += 1
            wrong = [] if driver.returncode in expected else [f"exit code {driver.returncode}"]
            # Ctrl-C within an import is told by Python itself, and may be lost there.
            traced = "Traceback" in text and "Exception ignored in: <function _get_mod" not in text
            wrong += ["a traceback"] if traced else []
            wrong += [f"the history lost {part}" for part in parts - place.parts()]
            cleared = what == "batch" and sent != signal.SIGKILL
            wrong += place.leftovers(staging=cleared) + place.broken()
            problems += [f"{number} {what} {ended}: {one}\n{text[-1000:]}" for one in wrong]
        for what in ("batch", "promote"):
            if start(what).wait():
                problems.append(f"the last {what} failed: " + (place.folder / "log").read_text())
        problems += place.leftovers(staging=True) + place.broken()
    took = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in whole_s.items())
    print(f"{times} commands ended, of {symbols} symbols (whole: {took}):")
    print(*(f"  {count:3} {end}" for end, count in sorted(ends.items())), sep="\n")
    print(f"slowest end after SIGINT: {slowest:.2f} s")
    return problems


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["many", "kills"])
    parser.add_argument("--symbols", type=int, help="500 for many, 4 for kills")
    parser.add_argument("--times", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    args, options = parser.parse_known_args()
    if args.what == "many":
        found = many(args.symbols or 500, options)
    else:
        found = kills(args.symbols or 4, args.times, args.seed)
    print("\n".join(found) if found else "nothing left, nothing broken")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
