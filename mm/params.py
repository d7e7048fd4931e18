"""The parameters a backtester loads, with what a person needs to trust them.

Flat, one symbol a file, never NaN. The JSON Schema in ``docs/params.schema.json`` is generated
from this model: ``python -m mm.params > docs/params.schema.json``.
"""

from __future__ import annotations

import json
import math
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mm.diagnose import Diagnostics
from mm.errors import CalibrationError, InputError
from mm.estimate import Estimate
from mm.fill_model import PoissonFillModel, RoundTrip
from mm.fit import Fit
from mm.load import BacktestLog, FillSource
from mm.settings import Settings
from mm.verdict import Verdict

SCHEMA_VERSION = 1
_PACKAGES = ("numpy", "pandas", "scipy", "matplotlib", "papermill", "nbconvert", "pydantic")

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Pair = tuple[Finite, Finite]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Intervals(_Model):
    """95 % intervals."""

    A: Pair
    k: Pair


class IntensityAt(_Model):
    """Intensity where it is best determined."""

    delta_star: Finite
    intensity: Positive = Field(serialization_alias="lambda", validation_alias="lambda")
    ci95: Pair


class PassiveFit(_Model):
    """The fit on quotes that were on their own side of mid (signed distance >= 0)."""

    A: Positive
    k: Finite
    ci95: Intervals
    n_fills: int


class PlainNumbers(_Model):
    """A (1/s) and k (1/tick) of another fit of the same files."""

    A: Finite
    k: Finite


class SideNumbers(_Model):
    """Each side alone; ``ratio`` is lambda BUY over SELL at ``at_delta`` ticks."""

    buy: PlainNumbers | None
    sell: PlainNumbers | None
    at_delta: Finite
    ratio: Finite | None
    lr_chi2_2: Finite | None


class GoodnessOfFit(_Model):
    """Shape over distance (Pearson, power law) and time (rescaled gaps, blocks)."""

    pearson_x2: Finite
    dof: int
    p: Finite | None
    ks: Finite | None
    ks_p: Finite | None
    lag1: Finite | None
    lag1_p: Finite | None
    block_dispersion: Finite | None
    block_p: Finite | None
    power_law_delta_aic: Finite | None = Field(description="positive speaks for a power law")


class OutOfSampleNumbers(_Model):
    """A fit of the first 70 % of the time against the fills of the rest."""

    predicted: Finite
    observed: int
    z: Finite


class TripAt(_Model):
    """First fills in one whole-tick bucket of |delta|."""

    delta: int
    predicted: Finite
    observed: int


class RoundTripNumbers(_Model):
    """First fills by the consumer's rule on the log's own quotes, against those observed."""

    predicted: Finite
    observed: int
    predicted_by_original: Finite | None
    predicted_by_old_params: Finite | None
    by_delta: tuple[TripAt, ...]


class QuotedIntensity(_Model):
    """The headline: first fills per hour at a distance; ``quoted`` is false where extrapolated."""

    delta: Finite
    per_hour: Finite
    ci95: Pair | None
    quoted: bool


class PredictiveNumbers(_Model):
    """Interval of lambda at delta_star in one further period; tau is the spread of log lambda."""

    period_s: Positive
    tau: Finite
    ci95: Pair | None


class BlockEffectNumbers(_Model):
    """k with a free level in each block, and the mean of the levels over time."""

    k: Finite
    se_k: Finite
    A_mean: Finite


class Params(_Model):
    """One symbol's parameters; ``A, k, dt_ms, tick_size`` are what a backtester reads."""

    A: Positive = Field(description="fills per second and resting order at delta = 0")
    k: Positive = Field(description="decay per tick of tick_size")
    dt_ms: int = Field(ge=1, description="time one draw stands for, ms")
    tick_size: Positive = Field(description="unit of the distance, quote currency")
    symbol: str
    distance_unit: Literal["ticks"] = "ticks"
    intensity_unit: Literal["1/s"] = "1/s"
    delta_convention: Literal["absolute", "signed"]
    fit_method: Literal["poisson_mle", "trial_mle", "log_linear"]
    ci95: Intervals | None = Field(description="null for log_linear, which has no valid one")
    cov_logA_k: tuple[Pair, Pair] | None
    se_type: Literal["block", "wald", "none"]
    n_blocks: int
    lambda_at: IntensityAt | None
    passive: PassiveFit | None
    sides: SideNumbers | None
    n_fills: int = Field(description="first fills used, sum N")
    exposure_s: Positive
    fill_source: FillSource
    fill_fraction: Finite | None = Field(description="filled share at the first fill's ms")
    fill_fraction_eventual: Finite | None = Field(description="filled share in the end")
    phi: Finite | None = Field(description="over-dispersion by distance, 1 under the model")
    gof: GoodnessOfFit | None
    aic: Finite | None
    oos: OutOfSampleNumbers | None
    round_trip: RoundTripNumbers | None
    lambda_quoted: tuple[QuotedIntensity, ...]
    predictive: PredictiveNumbers | None
    block_effects: BlockEffectNumbers | None
    other_intervals: dict[str, Intervals]
    firth: PlainNumbers | None = Field(description="for fewer than 30 fills")
    original: PlainNumbers | None
    original_error: str | None = Field(description="why the original notebook gives no numbers")
    k_price: Positive = Field(description="decay per unit of quote currency, k / tick_size")
    mean_state_gap_ms: Finite | None
    quality: Literal["ok", "warn"]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    inputs_sha256: dict[str, str]
    settings: dict[str, Any]
    versions: dict[str, str]
    created_utc: str
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The file's text."""
        plain = self.model_dump(mode="json", by_alias=True)
        return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def for_backtester(self) -> str:
        """The two lines a backtester's environment takes."""
        short = {"A": self.A, "k": self.k, "dt_ms": self.dt_ms, "tick_size": self.tick_size}
        return f"FILL_MODEL=poisson\nFILL_PARAMS_JSON={json.dumps(short)}"


def make_params(
    settings: Settings,
    log: BacktestLog,
    tick_size: float,
    estimate: Estimate,
    found: Diagnostics | None,
    verdict: Verdict,
) -> Params:
    """Parameters from an estimate that was not refused.

    Raises CalibrationError if it was: parameters that may not be used are never written.
    """
    fit = estimate.fit
    if fit is None or found is None or verdict.status == "refused":
        raise CalibrationError("a refused calibration has no parameters")
    valid = fit.se_type != "none"
    return Params(
        A=fit.A,
        k=fit.k,
        dt_ms=estimate.dt_ms,
        tick_size=tick_size,
        symbol=log.symbol,
        delta_convention=settings.DISTANCE,
        fit_method=fit.method,
        ci95=intervals(fit),
        cov_logA_k=fit.cov if valid else None,
        se_type=fit.se_type,
        n_blocks=fit.n_blocks,
        lambda_at=_best_known(fit) if valid else None,
        passive=passive_fit(estimate.passive),
        n_fills=estimate.n_events,
        exposure_s=estimate.exposure_s,
        fill_source=log.fill_source,
        aic=fit.aic if valid else None,
        original=original_numbers(estimate),
        original_error=estimate.original_error,
        k_price=fit.k / tick_size,
        mean_state_gap_ms=finite(estimate.mean_state_gap_ms),
        quality="warn" if verdict.status == "warn" else "ok",
        reasons=tuple(str(f) for f in verdict.reasons),
        notes=tuple(str(f) for f in verdict.notes),
        inputs_sha256=log.inputs_sha256,
        settings=settings.model_dump(mode="json"),
        versions=versions(),
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        **_diagnosed(found),
    )


def _diagnosed(found: Diagnostics) -> dict[str, Any]:
    """The fields that come from the diagnostics."""
    sides, test, ahead, effects = (
        found.sides,
        found.out_of_sample,
        found.predictive,
        found.effects,
    )
    pearson, time, blocks, trip = found.pearson, found.time, found.blocks, found.trip
    return {
        "sides": SideNumbers(
            buy=None if sides.buy is None else PlainNumbers(A=sides.buy.A, k=sides.buy.k),
            sell=None if sides.sell is None else PlainNumbers(A=sides.sell.A, k=sides.sell.k),
            at_delta=sides.delta,
            ratio=finite(sides.ratio),
            lr_chi2_2=finite(sides.lr),
        ),
        "fill_fraction": finite(found.fill_fraction.first),
        "fill_fraction_eventual": finite(found.fill_fraction.eventual),
        "phi": finite(pearson.phi),
        "gof": GoodnessOfFit(
            pearson_x2=pearson.x2,
            dof=pearson.dof,
            p=finite(pearson.p),
            ks=finite(time.ks),
            ks_p=finite(time.ks_p),
            lag1=finite(time.lag1),
            lag1_p=finite(time.lag1_p),
            block_dispersion=finite(blocks.dispersion),
            block_p=finite(blocks.p),
            power_law_delta_aic=None if found.power is None else finite(found.power.delta_aic),
        ),
        "oos": None
        if test is None
        else OutOfSampleNumbers(predicted=test.predicted, observed=test.observed, z=test.z),
        "round_trip": RoundTripNumbers(
            predicted=trip.total_predicted,
            observed=trip.total_observed,
            predicted_by_original=_total(found.trip_original),
            predicted_by_old_params=_total(found.trip_old),
            by_delta=tuple(
                TripAt(delta=int(b), predicted=float(p), observed=int(o))
                for b, p, o in zip(trip.bucket, trip.predicted, trip.observed, strict=True)
                if p >= 0.05 or o
            ),
        ),
        "lambda_quoted": tuple(
            QuotedIntensity(
                delta=row.delta,
                per_hour=row.per_hour,
                ci95=_pair(3600.0 * row.interval[0], 3600.0 * row.interval[1]),
                quoted=row.quoted,
            )
            for row in found.headline.rows
        ),
        "predictive": PredictiveNumbers(
            period_s=ahead.period_s, tau=ahead.tau, ci95=_pair(*ahead.interval)
        ),
        "block_effects": None
        if effects is None
        else BlockEffectNumbers(k=effects.k, se_k=effects.se_k, A_mean=effects.A_mean),
        "other_intervals": {
            name: Intervals(A=a, k=k)
            for name, (a, k) in found.intervals.items()
            if all(math.isfinite(x) for x in (*a, *k))
        },
        "firth": None if found.firth is None else PlainNumbers(A=found.firth[0], k=found.firth[1]),
    }


def _total(trip: RoundTrip | None) -> float | None:
    return None if trip is None else finite(trip.total_predicted)


def _pair(low: float, high: float) -> tuple[float, float] | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def original_numbers(estimate: Estimate) -> PlainNumbers | None:
    """The original notebook's A and k, None where it raises or they are no numbers."""
    fit = estimate.original
    if fit is None or not (math.isfinite(fit.A) and math.isfinite(fit.k)):
        return None
    return PlainNumbers(A=fit.A, k=fit.k)


def read_fill_model(path: Path, tick_size: float) -> PoissonFillModel:
    """Parameters from a params file, or from anybody's JSON with A, k and dt_ms.

    ``tick_size`` stands in where the file has none. Raises InputError, one line.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=path) from None
    except ValueError:
        raise InputError("not JSON", where=path, remedy="give a params file") from None
    numbers = {}
    for name, default in (("A", None), ("k", None), ("dt_ms", 100), ("tick_size", tick_size)):
        value = content.get(name, default) if isinstance(content, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InputError(
                f"found {value!r}, expected a positive number", where=path, column=name
            )
        numbers[name] = float(value)
    # The consumer casts dt_ms to a whole number.
    return PoissonFillModel(numbers["A"], numbers["k"], int(numbers["dt_ms"]), numbers["tick_size"])


def _best_known(fit: Fit) -> IntensityAt:
    star = fit.delta_star
    return IntensityAt.model_validate(
        {"delta_star": star, "lambda": fit.intensity(star), "ci95": fit.interval(star)}
    )


def passive_fit(fit: Fit | None) -> PassiveFit | None:
    """The passive fit as it is written, None where there is none."""
    if fit is None:
        return None
    ci95 = Intervals(A=fit.ci_A, k=fit.ci_k)
    return PassiveFit(A=fit.A, k=fit.k, ci95=ci95, n_fills=fit.n_events)


def intervals(fit: Fit) -> Intervals | None:
    """95 % intervals of a fit, None where it has no valid one."""
    return None if fit.se_type == "none" else Intervals(A=fit.ci_A, k=fit.ci_k)


def finite(value: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the result."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def schema() -> dict[str, Any]:
    """JSON Schema of the params file."""
    return Params.model_json_schema(by_alias=True, mode="serialization")


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
