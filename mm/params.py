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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mm.errors import CalibrationError
from mm.estimate import Estimate
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


class OriginalNumbers(_Model):
    """A and k as the original notebook gives them on the same files."""

    A: Finite
    k: Finite


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
    n_fills: int = Field(description="first fills used, sum N")
    exposure_s: Positive
    fill_source: FillSource
    aic: Finite | None
    original: OriginalNumbers | None
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
    settings: Settings, log: BacktestLog, tick_size: float, estimate: Estimate, verdict: Verdict
) -> Params:
    """Parameters from an estimate that was not refused.

    Raises CalibrationError if it was: parameters that may not be used are never written.
    """
    fit = estimate.fit
    if fit is None or verdict.status == "refused":
        raise CalibrationError("a refused calibration has no parameters")
    original = estimate.original
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
        original=OriginalNumbers(A=original.A, k=original.k) if original is not None else None,
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
    )


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
