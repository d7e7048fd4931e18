"""A window of days costs the new day: the same digits as from scratch, whatever the cache holds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mm
from mm.calibration import load, run_steps, value
from mm.core import kept
from mm.core.kept import Shelf
from mm.core.packed import decoded, encoded
from mm.core.places import KEPT
from mm.core.settings import Settings
from mm.exposure.midpath import MidPath
from mm.logs import kept_runs
from mm.logs import load as loading
from mm.pipeline.cache import trim
from mm.results.outcome import outcome_of
from mm.simulate import Scenario, simulate
from tests.conftest import WriteRun

MARKET = Scenario(A=1.2, k=0.3, duration_s=240.0, state_gap_ms=200, deltas_ticks=(1.0, 3.0, 6.0))
Digits = dict[str, Any]


@dataclass
class Window:
    """Run folders of one symbol, a cache, and the runs that were read of late."""

    data: Path
    cache: Path
    read: list[str]
    write_day: Callable[[int, int], None]

    def digits(self, *, cached: bool, **settings: Any) -> Digits:
        """All that a calibration leaves, to the last digit."""
        self.read.clear()
        given = {"SYMBOL": "AAA", "BACKTEST_DIR": str(self.data), "TICK_SIZE": 1.0, "GAMMA": 0.1}
        chosen = Settings.build({**given, **settings})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(KEPT, str(self.cache) if cached else "")
            result = run_steps(load(chosen), chosen)
            worth = value(result.log, result.accounts, chosen)
        left = outcome_of(result).model_dump(mode="json")
        left["params"].pop("created_utc")
        shown = [repr(result.log), result.log._repr_html_(), result.accounts._repr_html_()]
        return {"left": left, "worth": repr(vars(worth)), "shown": shown}


@pytest.fixture
def window(tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> Window:
    """Three days, none read yet."""

    def write_day(day: int, seed: int) -> None:
        log = simulate(MARKET, seed)
        later = {
            kind: table.assign(
                **{name: table[name] + day * 86_400_000 for name in table if name.endswith("_ms")}
            )
            for kind, table in (("orders", log.orders), ("fills", log.fills), ("state", log.state))
        }
        write_run(tmp_path / "data" / f"day{day}", later)

    read: list[str] = []
    exact = loading._read_run

    def counting(files: Any, labels: Any) -> Any:
        read.append(files.run.name)
        return exact(files, labels)

    monkeypatch.setattr(loading, "_read_run", counting)
    monkeypatch.setattr(kept_runs, "_SETTLED_NS", 0)
    for day in range(3):
        write_day(day, 10 + day)
    return Window(tmp_path / "data", tmp_path / "cache", read, write_day)


def test_a_new_day_alone_is_read_and_the_digits_are_those_from_scratch(window: Window) -> None:
    scratch = window.digits(cached=False)
    assert window.digits(cached=True) == scratch
    assert window.read == ["day0", "day1", "day2"]
    assert window.digits(cached=True) == scratch
    assert window.read == []
    window.write_day(3, 13)
    rolled = window.digits(cached=True)
    assert window.read == ["day3"]
    assert rolled == window.digits(cached=False) != scratch


def test_a_changed_old_day_is_read_again(window: Window) -> None:
    window.digits(cached=True)
    orders = window.data / "day1" / "orders_AAA.csv"
    before, was = orders.read_bytes(), orders.stat()
    orders.write_bytes(before.replace(b"SELL", b"BUY ", 1).replace(b"BUY ", b"SELL", 1))
    assert orders.read_bytes() == before
    window.digits(cached=True)
    assert window.read == []  # written again with the same content
    window.write_day(1, 99)
    os.utime(orders, ns=(was.st_atime_ns, was.st_mtime_ns))
    changed = window.digits(cached=True)
    assert window.read == ["day1"]
    assert changed == window.digits(cached=False)


@pytest.mark.parametrize(
    "settings",
    [
        {"TICK_SIZE": 0.5},
        {"BLOCK_S": 20.0},
        {"MAX_STATE_GAP_MS": 300},
        {"MAX_DELTA_TICKS": 4.0},
        {"DISTANCE": "signed"},
        {"FIT_METHOD": "poisson_mle"},
        {"POISSON_DT_MS": 50},
    ],
    ids=lambda given: next(iter(given)),
)
def test_other_settings_are_other_products(window: Window, settings: dict[str, Any]) -> None:
    plain = window.digits(cached=True)
    other = window.digits(cached=True, **settings)
    assert other == window.digits(cached=False, **settings)
    assert other != plain


def test_other_code_knows_nothing_of_what_was_kept(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.digits(cached=True)
    monkeypatch.setattr(kept, "_code", lambda: "another")
    window.digits(cached=True)
    assert window.read == ["day0", "day1", "day2"]


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_damaged_products_are_made_again(window: Window, share: float) -> None:
    scratch = window.digits(cached=True)
    rng = np.random.default_rng(7)
    for path in sorted(window.cache.iterdir()):
        if rng.random() >= share:
            continue
        content = bytearray(path.read_bytes())
        if rng.random() < 0.3:
            path.write_bytes(content[: rng.integers(len(content))])
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
            path.write_bytes(content)
    assert window.digits(cached=True) == scratch
    assert window.digits(cached=True) == scratch
    assert window.read == []


def test_a_table_that_is_asked_for_is_read_then(window: Window) -> None:
    window.digits(cached=True)
    given = {"SYMBOL": "AAA", "BACKTEST_DIR": str(window.data)}
    plain = load(Settings.build(given))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEPT, str(window.cache))
        log = load(Settings.build(given))
    window.read.clear()
    assert log.runs[0].fills.equals(plain.runs[0].fills)
    assert log.runs[0].state.equals(plain.runs[0].state)
    assert window.read == ["day0"]
    window.write_day(2, 77)
    with pytest.raises(mm.InputError, match="changed while it was used"):
        log.runs[2].orders  # noqa: B018  reading it is what is tested


def test_a_single_run_keeps_nothing(window: Window, write_run: WriteRun) -> None:
    window.data /= "day0"
    assert window.digits(cached=True) == window.digits(cached=False)
    assert not window.cache.exists()


def test_a_cache_that_can_not_be_written_keeps_nothing(window: Window) -> None:
    window.cache.write_text("in the way")
    assert window.digits(cached=True) == window.digits(cached=False)


def test_two_processes_at_once_have_the_same_digits(window: Window) -> None:
    code = (
        "import sys, mm\n"
        "from mm.calibration import load, run_steps\n"
        "s = mm.Settings.build({'SYMBOL': 'AAA', 'BACKTEST_DIR': sys.argv[1], 'TICK_SIZE': 1.0})\n"
        "found = run_steps(load(s), s).estimate.emitted\n"
        "print(found.A.hex(), found.k.hex())"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(window.data)],
            env={**os.environ, KEPT: str(window.cache)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    params = window.digits(cached=True)["left"]["params"]
    assert said == [[float(params[name]).hex() for name in ("A", "k")]] * 2
    assert not list(window.cache.glob(".*"))


def test_the_cache_is_bounded_and_what_nobody_asked_for_goes_first(window: Window) -> None:
    window.digits(cached=True)
    held = {path: path.stat().st_size for path in window.cache.iterdir()}
    for path in held:
        os.utime(path, (1e9, 1e9))
    window.write_day(0, 55)  # the first day's products are asked for no more
    window.digits(cached=True)
    (window.cache / ".killed.part").write_bytes(b"half")
    size = sum(path.stat().st_size for path in window.cache.iterdir()) - 4
    assert trim(window.cache, size) == size
    assert not (window.cache / ".killed.part").exists()
    last = {path for path in window.cache.iterdir() if path.stat().st_mtime > 1e9}
    assert trim(window.cache, sum(path.stat().st_size for path in last)) <= size
    assert set(window.cache.iterdir()) == last
    window.digits(cached=True)
    assert window.read == []
    assert trim(window.cache, 0) == 0
    assert trim(window.data / "nowhere", 0) == 0
    assert window.digits(cached=True) == window.digits(cached=False)


@pytest.mark.parametrize(
    "array",
    [
        np.array([], dtype=np.int64),
        np.array([-(2**63), 2**63 - 1]),
        np.array([-128, 127]),
        np.array([[1.5, np.nan], [np.inf, -0.0]]),
        np.array([True, False]),
        np.arange(5, dtype=np.int32)[::2],
    ],
    ids=str,
)
def test_arrays_come_back_bit_by_bit(array: npt.NDArray[Any]) -> None:
    (back,) = decoded(encoded((array,)))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_products_come_back_as_they_were() -> None:
    none = np.zeros(0)
    path = MidPath(none, none, none, none, none, np.array([1.0]), none)
    product = {1: (None, "a", 2.5, [True]), "path": path, "empty": {}}
    back = decoded(encoded(product))
    assert back.pop("path").row_mid.tolist() == [1.0]
    assert back == {1: (None, "a", 2.5, [True]), "empty": {}}
    assert np.isnan(decoded(encoded(float("nan"))))
    with pytest.raises(TypeError, match="object"):
        encoded(object())


def test_nothing_is_loaded_but_dataclasses_of_this_package(tmp_path: Path) -> None:
    good = encoded(MidPath(*[np.zeros(1)] * 7))
    for module, name in (("os", "system"), ("mm.calibration", "load"), ("mm.core.kept", "trim")):
        head = json.dumps({"class": [module, name, {}]}).encode()
        forged = encoded("")[:10]
        body = len(head).to_bytes(8, "little") + head
        with pytest.raises((ValueError, AttributeError)):
            decoded(forged + hashlib.sha256(body).digest() + body)
    assert isinstance(decoded(good), MidPath)


def test_an_empty_shelf_makes_the_product_and_keeps_it(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return 5

    shelf = Shelf(tmp_path / "new", "thing")
    assert shelf.get(make) is None
    assert [shelf.of(make, (), make) for _ in range(2)] == [5, 5]
    assert Shelf(tmp_path / "new", "other").of(make, (), make) == 5
    assert len(made) == 2
