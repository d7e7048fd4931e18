"""Forecasts that are scored: by the definitions, on what came after, and on what was registered."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mm
from mm.core.errors import CalibrationError
from mm.diagnostics.forecast import gain, number_test, space_test
from mm.registry.change import Signature, rollback
from mm.registry.ledger import (
    SCORES,
    Forecast,
    forecast_for,
    running,
    scores,
    usual_error,
)
from mm.registry.scoring import score, score_symbol
from mm.registry.store import Registry, Release, open_registry
from mm.results.params import Params
from mm.results.record import Record
from tests.support import slow
from tests.support.records import HIT

Tables = Mapping[str, pd.DataFrame]
WriteRun = Callable[..., Path]
DAY_MS = 86_400_000
LIVE = Forecast("v", "2025-01-01T00:00:00+00:00", "u", prospective=True)


def fitted(tables: Tables) -> Params:
    params = mm.calibrate(**tables, tick_size=1.0, symbol="AAA").params
    assert params is not None
    return params


def of_day(tables: Tables, day: int) -> dict[str, pd.DataFrame]:
    moved = {}
    for kind, table in tables.items():
        times = [name for name in table.columns if name.endswith("_ms")]
        moved[kind] = table.assign(**{name: table[name] + day * DAY_MS for name in times})
    return moved


@pytest.fixture(scope="module")
def params(tables: Tables) -> Params:
    return fitted(tables)


def test_a_score_is_what_an_independent_computation_gives(
    params: Params, later_tables: Tables
) -> None:
    result = mm.calibrate(**later_tables, tick_size=1.0, symbol="AAA")
    previous = params.model_copy(update={"A": 0.9 * params.A, "k": 1.1 * params.k})
    exposure = result.accounts.exposure
    cells = exposure.cells(result.accounts.selection.both)
    found = score(result.log, cells, LIVE, params, previous)

    frames = (later_tables["orders"], later_tables["fills"], later_tables["state"])
    sums = slow.account([frames], slow.Rules())
    seen: dict[int, int] = defaultdict(int)
    assert params.original is not None
    models = {"params": params, "previous": previous, "original": params.original}
    given: dict[str, dict[int, float]] = {
        name: defaultdict(float) for name in (*models, "constant")
    }
    for (*_, at), events in sums.events.items():
        seen[at] += events
    for (_, _, _, micro, at), ms in sums.exposure_ms.items():
        for name, model in models.items():
            given[name][at] += ms / 1000 * model.A * math.exp(-model.k * micro / 1e6)
        given["constant"][at] += ms / 1000 * params.n_fills / params.exposure_s

    assert {level.ticks: level.seen for level in found.levels if level.seen} == dict(seen)
    for level in found.levels:
        assert level.expected == pytest.approx(given["params"][level.ticks], rel=1e-9)
    n, expected = sum(seen.values()), sum(given["params"].values())
    assert (found.seen, found.expected) == (n, pytest.approx(expected, rel=1e-9))
    law = stats.poisson(expected)
    assert found.number == pytest.approx((law.sf(n - 1), law.cdf(n)), rel=1e-6)
    for told, other in (
        (found.gain_constant, "constant"),
        (found.gain_previous, "previous"),
        (found.gain_original, "original"),
    ):
        loglik = [
            sum(stats.poisson(given[name][at]).logpmf(seen.get(at, 0)) for at in given[name])
            for name in ("params", other)
        ]
        assert told == pytest.approx((loglik[0] - loglik[1]) / n, rel=1e-6)
    assert params.predictive is not None
    assert params.cov_logA_k is not None
    assert params.lambda_at is not None
    star, ((v_a, cov), (_, v_k)) = params.lambda_at.delta_star, params.cov_logA_k
    assert params.ci95 is not None
    wider = (params.ci95.k[1] - params.ci95.k[0]) / 2 / math.sqrt(v_k) / stats.norm.ppf(0.975)
    s2 = (v_a - 2 * star * cov + star**2 * v_k) * wider**2 + params.predictive.tau**2
    size = 1 / s2
    law = stats.nbinom(size, size / (size + expected))
    assert found.interval == (law.ppf(0.025), law.ppf(0.975))
    assert found.z == pytest.approx((n - expected) / law.std())

    wider = score(result.log, cells, LIVE, params, previous, usual=2.0)
    variance = 4.0 * (expected + expected**2 * s2)
    law = stats.nbinom(expected**2 / (variance - expected), expected / variance)
    assert wider.interval == (law.ppf(0.025), law.ppf(0.975))
    assert (wider.z, wider.usual) == (found.z, 2.0)


def test_the_space_test_is_the_multinomial_one() -> None:
    seen, expected = np.array([4.0, 1.0, 1.0]), np.array([1.0, 1.0, 3.0])
    law = stats.multinomial(6, expected / expected.sum())
    every = [(a, b, 6 - a - b) for a, b in product(range(7), repeat=2) if a + b <= 6]
    exact = sum(law.pmf(x) for x in every if law.pmf(x) <= law.pmf(seen) * (1 + 1e-9))
    drawn = [space_test(seen, expected, np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean(drawn) == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    assert space_test(np.array([9.0]), np.array([2.0]), np.random.default_rng(0)) == 1.0
    assert number_test(0.0, 2.0) == pytest.approx((1.0, math.exp(-2.0)))
    assert gain(seen, expected, expected) == 0.0


def released(folder: Path, symbol: str, params: Params, when: datetime) -> str:
    with open_registry(folder) as registry:
        version = registry.add(symbol, params.to_json())
        changed = {symbol: (registry.live().get(symbol), version)}
        registry.release(
            Release(
                number=0,
                action="promote",
                when_utc=when.isoformat(timespec="seconds"),
                who="ann",
                why="",
                changed=changed,
            )
        )
    return version


def test_what_was_live_when_a_log_began_is_its_forecast(tmp_path: Path, params: Params) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    opens_ms = int(begin.timestamp() * 1000)
    ended = {"window_ms": (0, opens_ms - 1)}
    first, second, later = (
        released(
            tmp_path, "AAA", params.model_copy(update={"A": A, **ended}), begin + timedelta(hours=h)
        )
        for A, h in ((1.0, -9), (1.1, -1), (1.2, 1))
    )
    ends = dict.fromkeys((first, second, later), opens_ms - 1)
    registry = Registry(tmp_path)

    def of(
        at_ms: int, ends: Mapping[str, int] = ends
    ) -> tuple[str | None, str | None, bool] | None:
        found = forecast_for(registry.journal(), "AAA", at_ms, ends.__getitem__)
        return None if found is None else (found.version, found.previous, found.prospective)

    assert of(opens_ms) == (second, first, True)
    long_ago = opens_ms - 10 * DAY_MS
    assert of(long_ago) is None, "its own data came later"
    old = dict.fromkeys(ends, long_ago - 1)
    assert of(long_ago, old) == (later, second, False), "registered later, on older data"
    with open_registry(tmp_path) as held:
        rollback(held, Signature("ann", "", begin + timedelta(hours=2)))
    assert of(opens_ms + 3 * 3_600_000) == (second, later, True)


def test_runs_are_scored_once_and_only_what_came_after(
    tmp_path: Path, tables: Tables, later_tables: Tables, params: Params, write_run: WriteRun
) -> None:
    data, folder = tmp_path / "data", tmp_path / "registry"
    settings = {"BACKTEST_DIR": str(data), "SYMBOL": "AAA", "TICK_SIZE": 1.0}
    record = Record(status="ok", settings=settings)
    write_run(data / "day0", tables)
    version = released(folder, "AAA", params, datetime(2026, 1, 1, tzinfo=UTC))
    registry = Registry(folder)
    assert score_symbol(registry, "AAA", record) is None, "its own data are no forecast's"
    found = []
    for day in (1, 2):
        write_run(data / f"day{day}", of_day(later_tables, day))
        one = score_symbol(registry, "AAA", record)
        assert one is not None
        found.append(one)
        with open_registry(folder) as held:
            held.append(SCORES, one.model_dump_json())
        assert score_symbol(registry, "AAA", record) is None, "once"
    assert [(one.seen, one.expected) for one in found] == [(found[0].seen, found[0].expected)] * 2
    assert not found[0].prospective, "the log is older than the release"
    assert scores(registry)["AAA"] == found

    path = folder / "versions" / "AAA" / f"{version}.json"
    path.write_text(path.read_text("utf-8").replace('"k": 0', '"k": 1'), encoding="utf-8")
    write_run(data / "day3", of_day(later_tables, 3))
    with pytest.raises(CalibrationError, match="not as it was registered"):
        score_symbol(registry, "AAA", record)


def test_how_nights_differ_is_learnt_from_the_errors_of_other_versions() -> None:
    rng = np.random.default_rng(4)
    varies = [
        HIT.model_copy(update={"z": 3.0 * float(z), "version": f"v{n}"})
        for n, z in enumerate(rng.standard_normal(60))
    ]
    assert usual_error(varies, "new") == pytest.approx(3.0, rel=0.3)
    assert usual_error(varies[:9], "new") == 1.0
    lasting = [HIT.model_copy(update={"z": 3.0})] * 60
    assert usual_error(lasting, HIT.version) == 1.0, "the live version's own are its fault"
    calm = [one.model_copy(update={"z": one.z / 6.0}) for one in varies]
    assert usual_error(calm, "new") == 1.0
    broke = [*calm[:50], *(HIT.model_copy(update={"z": 30.0, "version": "w"}) for _ in range(5))]
    assert usual_error(broke, "new") == 1.0
    wide = HIT.model_copy(update={"z": -3.0, "usual": 3.0})
    assert running([wide] * 11).cusum == pytest.approx(-5.5)


def test_three_misses_in_a_row_are_a_finding() -> None:
    hit = HIT
    miss = hit.model_copy(update={"seen": 130, "gain_constant": 0.0})
    assert not running([miss, miss, hit, miss, miss]).finding
    told = running([hit, miss, miss, miss])
    assert told.line == "3 of 4 missed; the last 3 forecasts missed"
    assert told.gain_constant == pytest.approx(0.2 * 100 / 490)
    assert "MISSED" in miss.line
    assert not running([]).finding


def test_small_errors_that_last_are_a_finding_of_the_version_that_is_live() -> None:
    low, other = HIT.model_copy(update={"z": -1.0}), HIT.model_copy(update={"version": "w"})
    assert not running([low] * 10).finding
    assert running([low] * 11).cusum == pytest.approx(-5.5)
    assert running([low] * 11).finding.startswith("night after night fewer fills")
    assert not running([*[low] * 11, other]).finding, "another version starts anew"


def test_cumulative_sums_of_forecasts_that_hold_are_seldom_told() -> None:
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(40):
        month = [HIT.model_copy(update={"z": float(z)}) for z in rng.standard_normal(30)]
        told += any(running(month[:n]).finding for n in range(1, 31))
    assert told <= 0.2 * 40
