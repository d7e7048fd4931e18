"""Blocks of runs that replay the same minutes are no new evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mm
from mm.calibration import Calibration
from mm.diagnostics.time_at_risk import Risk
from mm.exposure.cells import make_cells
from mm.fitting.covariance import information_inverse, robust_by_block
from mm.fitting.fit import fit_poisson
from mm.fitting.through import fit_both_sides
from mm.simulate import Scenario, SimulatedLog, simulate

LOG = Scenario(A=0.6, k=0.3, duration_s=480.0)


def pooled(*logs: SimulatedLog) -> Calibration:
    tables = zip(*((log.orders, log.fills, log.state) for log in logs), strict=True)
    return mm.calibrate(*(list(some) for some in tables), tick_size=1.0)


def covariance(result: Calibration, block: np.ndarray) -> np.ndarray:
    """The sandwich over other blocks, from the fit's own cells."""
    fit, accounts = result.estimate.candidates["absolute_mle"], result.accounts
    assert fit is not None
    cells = accounts.exposure.cells(accounts.selection)
    mu = cells.exposure_s * fit.rates(cells.delta)
    wald, _ = information_inverse(mu, cells.delta)
    score = np.column_stack([cells.events - mu, -(cells.events - mu) * cells.delta])
    return np.array(robust_by_block(wald, score, block).cov)


def test_runs_of_the_same_minutes_are_as_many_blocks_as_one() -> None:
    near, far = replace(LOG, deltas_ticks=(1.0, 2.0, 3.0)), replace(LOG, deltas_ticks=(5.0, 8.0))
    result = pooled(simulate(near, 1), simulate(far, 2))
    fit, accounts = result.estimate.candidates["absolute_mle"], result.accounts
    n = accounts.exposure.paths[0].n_blocks
    assert fit.n_blocks == n == 8
    block = accounts.exposure.cells(accounts.selection).block % n
    np.testing.assert_allclose(fit.cov, covariance(result, block), rtol=1e-12)
    (note,) = (f.what for f in result.verdict.notes if f.code == "same_time")
    assert note.startswith("2 runs of 16.0 min together cover 8.0 min of the market")


def test_a_start_some_seconds_later_changes_nothing() -> None:
    late = replace(LOG, start_ms=LOG.start_ms + 7_300)
    result = pooled(simulate(LOG, 1), simulate(late, 2))
    assert result.estimate.fit is not None
    assert result.estimate.fit.n_blocks == 8


@pytest.mark.parametrize("days", [1, 3])
def test_runs_of_other_days_have_blocks_of_their_own(days: int) -> None:
    later = replace(LOG, start_ms=LOG.start_ms + days * 86_400_000)
    result = pooled(simulate(LOG, 1), simulate(later, 2))
    fit, accounts = result.estimate.fit, result.accounts
    assert fit is not None
    assert fit.n_blocks == 16
    assert "same_time" not in {f.code for f in result.verdict.notes}
    number = accounts.exposure.periods.number
    assert number.tolist() == [*range(8), *range(9, 17)], "the last of a run has no neighbour"


def test_three_days_are_three_and_no_24_minutes() -> None:
    days = [replace(LOG, start_ms=LOG.start_ms + day * 86_400_000) for day in range(3)]
    fit = pooled(*(simulate(day, seed) for seed, day in enumerate(days))).estimate.fit
    assert fit is not None
    assert (fit.se_type, fit.n_blocks) == ("group", 3)


def test_sums_over_whole_days_give_the_fits_that_sums_by_block_give() -> None:
    days = [replace(LOG, start_ms=LOG.start_ms + day * 86_400_000) for day in range(3)]
    result = pooled(*(simulate(day, seed) for seed, day in enumerate(days)))
    estimate, exposure, e = (
        result.estimate,
        result.accounts.exposure,
        result.accounts.exposure.events,
    )
    e, group = exposure.events, exposure.periods.group
    for selection in (estimate.selection, estimate.selection.both):
        cells = exposure.cells(selection)
        blocks = make_cells(exposure.sums, e.block, e.side, e.level, e.delta, e.qty, selection)
        assert len(cells.block) < len(blocks.block)
        assert cells.exposure_ms.sum() == blocks.exposure_ms.sum()
        assert cells.n_events == blocks.n_events
        fits = [
            fit_poisson(replace(some, group=group[some.block], delta=np.abs(some.delta)))
            for some in (cells, blocks)
        ]
        assert [fit.se_type for fit in fits] == ["group", "group"]
        one, other = (np.array([fit.A, fit.k, *fit.cov[0], *fit.cov[1]]) for fit in fits)
        np.testing.assert_allclose(one, other, rtol=1e-11)
    risk = Risk.of_estimate(exposure, estimate)
    for buy in (True, False):
        at = (risk.places.side > 0) == buy
        by_group, by_block = fit_both_sides(risk.by_group(at)), fit_both_sides(risk.cells(at))
        assert risk.fit(at).A == by_group.A == pytest.approx(by_block.A, rel=1e-11)
        np.testing.assert_allclose(by_group.cov, by_block.cov, rtol=1e-9)


def test_of_one_run_the_periods_are_its_blocks() -> None:
    exposure = pooled(simulate(LOG, 1)).accounts.exposure
    assert exposure.periods.number.tolist() == list(range(exposure.paths[0].n_blocks))


def test_a_run_counted_twice_at_other_spreads_gives_no_narrower_interval() -> None:
    """The same bursts seen by two runs: their minutes vary together."""
    rng = np.random.default_rng(3)
    log = simulate(replace(LOG, duration_s=900.0), 4)
    minute = (log.fills["recv_ms"] - LOG.start_ms) // 60_000
    kept = log.fills[rng.lognormal(-1.0, 0.8, 16).clip(max=1.0)[minute] > rng.random(len(minute))]
    quiet = replace(log, fills=kept)
    # The same run once more, as another would be whose quotes stood a tenth of a tick lower.
    other = replace(
        quiet, orders=quiet.orders.assign(price=quiet.orders["price"] - 0.1),
        fills=kept.assign(price=kept["price"] - 0.1),
    )  # fmt: skip
    one, two = pooled(quiet).estimate.fit, pooled(quiet, other).estimate.fit
    assert one is not None
    assert two is not None
    ratio = two.se_log_intensity(two.delta_star) / one.se_log_intensity(one.delta_star)
    assert ratio == pytest.approx(1.0, abs=0.1), "0.71 if they were independent"
