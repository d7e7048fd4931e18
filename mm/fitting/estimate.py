"""From the accounting to the estimate: which likelihood, which time step, and what beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mm.core.display import Paragraph, Parts, html
from mm.core.errors import EstimateError, OriginalError
from mm.exposure.accounting import Exposure
from mm.exposure.cells import Cells
from mm.exposure.distance import Selection
from mm.exposure.places import Sums
from mm.exposure.trials import trial_cells, trial_sums
from mm.fitting.consumer import by_placement
from mm.fitting.covariance import Uncertainty
from mm.fitting.fit import Fit, fit_cells, upper_limit
from mm.fitting.memory import Memory, Rescaled
from mm.fitting.original_notebook import OriginalFit, fit_original
from mm.fitting.through import ThroughRate, fit_both_sides, through_rate
from mm.logs.intervals import is_virtual
from mm.logs.log import Run


@dataclass(frozen=True, repr=False)
class Estimate:
    """What the log says, without a judgement of it.

    ``fit``: the intensity that is shown and tested: A exp(-k delta) of quotes on their own side of
    mid, and ``through``, the rate of those that mid has run through; of |delta| in a drawn log.
    None where there is none and ``refusal`` says why. ``emitted``: A and k of |delta| for the
    consumer, by the chosen method; ``candidates``: by every other, see ``mm.fitting.consumer``.
    ``drawn``: fills were drawn once a state row, and the fits are of these trials.
    ``original``: the old notebook's fit of the same files, or ``original_error``, what it raises.
    ``n_events``, ``exposure_s``: over the selected distances. ``mean_state_gap_ms``: mean time
    between a resting order's state rows. ``dt_ms``: the consumer's time step, emitted with A and
    k; ``dt_given`` if it was set. ``trials``: state rows at risk, see ``mm.exposure.trials``; up
    to the fill's own row where fills were drawn row by row. ``quoted``: of a log without events
    nearest, middle (by time) and farthest |distance| that quotes rested at, in range or not,
    ticks; None where none did. ``clock``: events on the clock of the shown fit, and ``memory``,
    what that says of its level; None where it was not looked at.
    """

    selection: Selection
    fit: Fit | None
    emitted: Fit | None
    candidates: dict[str, Fit]
    through: ThroughRate | None
    refusal: EstimateError | None
    drawn: bool
    original: OriginalFit | None
    original_error: str | None
    n_events: int
    exposure_s: float
    mean_state_gap_ms: float
    dt_ms: int
    dt_given: bool
    trials: Sums
    quoted: tuple[float, float, float] | None
    clock: Rescaled | None = None
    memory: Memory | None = None

    def remembering(self, clock: Rescaled, memory: Memory | None) -> Estimate:
        """The same with its events on the rescaled clock, and all intervals as wide as a level that
        outlasts the log asks for."""
        found = replace(self, clock=clock, memory=memory)
        wider = found.as_wide
        return replace(
            found,
            fit=None if self.fit is None else wider(self.fit),
            emitted=None if self.emitted is None else wider(self.emitted),
            candidates={name: wider(fit) for name, fit in self.candidates.items()},
        )

    def as_wide(self, part: Fit) -> Fit:
        """A fit that is robust by block, of a side for example, with intervals that allow for a
        level that outlasts the log, as those of the whole do."""
        more = 0.0 if self.memory is None else self.memory.half_width
        return replace(part, uncertainty=part.uncertainty.wider_level(more))

    @property
    def passive(self) -> Fit | None:
        """The fit of quotes on their own side of mid."""
        return self.candidates.get("passive_mle")

    @property
    def upper_limit(self) -> float:
        """Where nothing was filled: lambda is at most this, one-sided 95 %, 1/s."""
        return upper_limit(self.exposure_s)

    def __repr__(self) -> str:
        if self.fit is None:
            return f"<Estimate: none, {self.refusal}>"
        return f"<Estimate: A = {self.fit.A:.4g} /s, k = {self.fit.k:.4g} /tick>"

    def _repr_html_(self) -> str:
        refused = None if self.fit else Paragraph("No estimate", f": {self.refusal}.")
        none = emitted = None
        if self.n_events == 0 and self.exposure_s > 0:
            none = (
                f"No fill in {self.exposure_s:,.1f} s of exposure: "
                f"λ ≤ 2.996/ΣT = {self.upper_limit:.3g} /s (one-sided 95 %)."
            )
        if self.emitted is not None and self.emitted is not self.fit:
            emitted = Parts("For a backtester that knows |δ|:", self.emitted)
        error = self.original_error and f"Original notebook: {self.original_error}"
        return html(refused, self.fit, none, emitted, self.original or error)


def estimate_intensity(
    exposure: Exposure,
    selection: Selection,
    *,
    drawn_by_rows: bool,
    poisson_dt_ms: int | None,
    runs: Sequence[Run],
    min_exposure_s: float,
    method: str = "blend",
) -> Estimate:
    """Fit the intensity on both sides of mid, the consumer's A and k, and the original's.

    Parameters
    ----------
    exposure, selection : the accounting and which distances of it are used.
    drawn_by_rows : the log's fills were drawn once a state row (all reasons ``poisson…``); the
        trial likelihood is used, for which ``poisson_dt_ms`` must be known.
    poisson_dt_ms : the consumer's time step, ms; None takes the mean gap of the state rows.
    runs : the tables, for the original's accounting.
    min_exposure_s : exposure a bucket needs to enter the original's fit, seconds.
    method : whose A and k are emitted: ``blend``, ``placement``, ``poisson_mle`` (of |delta|; of
        passive quotes where distances are signed), or ``log_linear``, the original's.
    """
    cells = exposure.cells(selection)
    trials = trial_sums(exposure, drawn=drawn_by_rows)
    drawn = trials if drawn_by_rows else None
    gap = exposure.mean_state_gap_ms(selection)
    original: OriginalFit | None = None
    original_error: str | None = "the original notebook knows no virtual orders"
    # Of pooled runs it reads none, and so their fills are not asked for.
    if method == "log_linear" or len(runs) != 1 or not is_virtual(runs[0].fills):
        original, original_error = _original(runs, exposure.tick_size, selection, min_exposure_s)
    absolute = _fit(exposure, selection, drawn, poisson_dt_ms)
    passive = _fit(exposure, selection.passive, drawn, poisson_dt_ms)
    found: dict[str, Fit] = {"passive_mle": passive} if isinstance(passive, Fit) else {}
    if isinstance(absolute, Fit):
        found["absolute_mle"] = absolute
    fit: Fit | EstimateError = absolute
    through = None
    if drawn is None:
        of_distances = _by_period(exposure, cells)
        found |= by_placement(of_distances)
        both = _by_period(exposure, exposure.cells(selection.both))
        through = through_rate(both)
        if isinstance(passive, Fit):
            fit = fit_both_sides(both)
    emitted: Fit | EstimateError | None = _emitted(method, selection, found)
    if method == "log_linear":
        emitted = _as_fit(original, original_error, cells.n_events, float(cells.exposure_s.sum()))
        fit = emitted if isinstance(emitted, EstimateError) else fit
    return Estimate(
        selection=selection,
        fit=fit if isinstance(fit, Fit) else None,
        emitted=emitted if isinstance(emitted, Fit) else None,
        candidates=found,
        through=through,
        refusal=fit if isinstance(fit, EstimateError) else None,
        drawn=drawn_by_rows,
        original=original,
        original_error=original_error,
        n_events=cells.n_events,
        exposure_s=int(cells.exposure_ms.sum()) / 1000.0,
        mean_state_gap_ms=gap,
        dt_ms=poisson_dt_ms or (max(1, round(gap)) if math.isfinite(gap) else 1),
        dt_given=poisson_dt_ms is not None,
        trials=trials,
        quoted=None if cells.n_events else _quoted(exposure.sums),
    )


def _quoted(sums: Sums) -> tuple[float, float, float] | None:
    ms = sums.values[:, 0]
    rested = ms > 0
    if not rested.any():
        return None
    delta, ms = np.abs(sums.delta[rested]), ms[rested]
    order = np.argsort(delta)
    half = int(np.searchsorted(np.cumsum(ms[order]), 0.5 * ms.sum()))
    return float(delta.min()), float(delta[order[half]]), float(delta.max())


def _fit(
    exposure: Exposure, selection: Selection, drawn: Sums | None, dt_ms: int | None
) -> Fit | EstimateError:
    try:
        if drawn is not None and dt_ms is None:
            raise EstimateError(
                "dt_unknown",
                "the fills were drawn by a Poisson fill model whose dt_ms is not known",
            )
        cells = exposure.cells(selection)
        if drawn is not None and dt_ms is not None:
            cells = trial_cells(drawn, selection, dt_ms)
        return fit_cells(_by_period(exposure, cells))
    except EstimateError as error:
        return error


def _by_period(exposure: Exposure, cells: Cells) -> Cells:
    """The cells with their period in place of their block, and the group it is in."""
    periods = exposure.periods
    return replace(cells, block=periods.number[cells.block], group=periods.group[cells.block])


def _emitted(method: str, selection: Selection, found: dict[str, Fit]) -> Fit | None:
    """The consumer's A and k: the chosen candidate, or where it does not exist or does not fall
    with distance the next of: maximum likelihood of |delta|, of passive quotes."""
    chosen = {"blend": "blend", "placement": "placement"}.get(method, "absolute_mle")
    names = [chosen, "absolute_mle", "passive_mle"]
    if selection.convention == "signed":
        names = ["passive_mle", "absolute_mle"]
    there = [found[name] for name in names if name in found]
    return next((fit for fit in there if fit.k > 0), there[0] if there else None)


def _original(
    runs: Sequence[Run], tick_size: float, selection: Selection, min_exposure_s: float
) -> tuple[OriginalFit | None, str | None]:
    if len(runs) != 1:
        return None, f"the original notebook reads one run; these are {len(runs)} pooled"
    try:
        return fit_original(
            runs[0],
            tick_size=tick_size,
            min_delta_ticks=selection.min_ticks,
            max_delta_ticks=selection.max_ticks,
            min_exposure_s=min_exposure_s,
        ), None
    except OriginalError as error:
        return None, str(error)


def _as_fit(
    original: OriginalFit | None, error: str | None, n_events: int, exposure_s: float
) -> Fit | EstimateError:
    """The original's fit in the shape of the others; it has no valid interval."""
    if original is None:
        return EstimateError("no_mle", f"log_linear: {error}")
    uncertainty = Uncertainty.none()
    return Fit(
        method="log_linear",
        A=original.A,
        k=original.k,
        uncertainty=uncertainty,
        wald=uncertainty.cov,
        delta_star=np.nan,
        n_events=n_events,
        exposure_s=exposure_s,
        loglik=np.nan,
    )
