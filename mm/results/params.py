"""The parameters a backtester loads, with what a person needs to trust them.

Flat, one symbol a file, never NaN. The JSON Schema in ``docs/params.schema.json`` is generated
from this model: ``python -m mm.results.params > docs/params.schema.json``.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mm import __version__
from mm.core.settings import FillSource

SCHEMA_VERSION = 2
_PACKAGES = (
    *("numpy", "pandas", "scipy", "pyarrow", "pydantic"),
    *("papermill", "nbformat", "nbconvert", "matplotlib", "pillow"),
    *("jinja2", "nh3", "latex2mathml"),
)

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
    usable_delta: Pair | None = Field(description="ticks between which the fit holds")


class OutOfSampleNumbers(_Model):
    """A fit of the first 70 % of the time against the fills of the rest."""

    predicted: Finite
    observed: int
    z: Finite


class ReplayRow(_Model):
    """First fills between two distances, ``from_delta`` included: by placement with the orders that
    were placed there and how long they rested together. ``inside``: whether the observed number
    lies in the interval that the given one has."""

    from_delta: int
    to_delta: int
    orders: int | None
    rest_s: Finite | None
    observed: int
    given: Finite
    ci95: tuple[int, int]
    inside: bool


class ReplayNumbers(_Model):
    """First fills by the consumer's rule on the log's own quotes, against those observed."""

    given: Finite
    observed: int
    ci95: tuple[int, int] = Field(description="of the number given, by chance")
    given_by_original: Finite | None
    given_by_old_params: Finite | None
    by_placement: tuple[ReplayRow, ...]
    by_fill: tuple[ReplayRow, ...]


class ThroughNumbers(_Model):
    """Quotes that mid has run through: events over exposure, 1/s."""

    rate: Finite | None = Field(alias="lambda")
    ci95: Pair | None
    n_fills: int
    exposure_s: Finite


class Candidate(_Model):
    """A and k that could be emitted, with their covariance."""

    A: Positive
    k: Finite
    cov_logA_k: tuple[Pair, Pair]


class QuotedIntensity(_Model):
    """The headline: first fills per hour at a distance; ``quoted`` is false where extrapolated.
    ``observed_per_hour``: those of the log in the whole-tick bucket there."""

    delta: Finite
    per_hour: Finite
    ci95: Pair | None
    quoted: bool
    observed_per_hour: Finite | None = None

    def chance_within(self, seconds: float) -> float:
        """Probability of a fill within a time: 1 - exp(-lambda t)."""
        return -math.expm1(-self.per_hour / 3600.0 * seconds)


class PredictiveNumbers(_Model):
    """Interval of lambda at ``at_delta`` ticks in one further period; tau is the spread of log
    lambda."""

    at_delta: Finite | None = None  # not in files of 0.4.0
    period_s: Positive
    tau: Finite
    ci95: Pair | None


class BlockEffectNumbers(_Model):
    """k with a free level in each block, and the mean of the levels over time."""

    k: Finite
    se_k: Finite
    A_mean: Finite


class FindingNumbers(_Model):
    """A reason or a note: ``code`` is stable and listed in docs/verdict.md; ``number`` is what was
    held against ``threshold`` where one number decides."""

    level: Literal["refused", "warn", "note"]
    code: str
    text: str
    number: Finite | None
    threshold: str


class ThinnedClock(_Model):
    """The intensity that is shown, had mid been written in every ``every``-th row only."""

    every: int
    A: Finite | None
    k: Finite | None
    rate: Finite | None = Field(alias="lambda", description="at at_delta ticks")


class MidClockNumbers(_Model):
    """Time between state rows at which orders rested, ms, and fits on thinned rows."""

    at_delta: Finite | None = None  # not in files of 0.4.0
    median: Finite
    p95: Finite
    thinned: tuple[ThinnedClock, ...]


class AlternativeNumbers(_Model):
    """What another horizon or fill rule of virtual orders gives at ``delta`` ticks, 1/s."""

    fill_rule: Literal["at", "through"]
    horizon_ms: int
    n_orders: int
    n_fills: int
    delta: Finite
    rate: Finite | None = Field(serialization_alias="lambda", validation_alias="lambda")
    ci95: Pair | None


class Params(_Model):
    """One symbol's parameters; ``A, k, dt_ms, tick_size`` are what a backtester reads."""

    A: Positive = Field(description="fills per second and resting order at delta = 0")
    k: Positive = Field(description="decay per tick of tick_size")
    dt_ms: int = Field(ge=1, description="time one draw stands for, ms")
    tick_size: Positive = Field(description="unit of the distance, quote currency")
    symbol: str
    source: Literal["log", "tape"] = Field(description="orders of a log, or virtual ones on a tape")
    virtual_orders: str | None = Field(description="how virtual orders were placed and filled")
    alternatives: tuple[AlternativeNumbers, ...] = Field(
        default=(), description="of a tape: other horizons and fill rules, on its first hour"
    )
    distance_unit: Literal["ticks"] = "ticks"
    intensity_unit: Literal["1/s"] = "1/s"
    delta_convention: Literal["absolute", "signed"]
    fit_method: Literal["blend", "placement", "poisson_mle", "trial_mle", "log_linear"]
    ci95: Intervals | None = Field(description="null for log_linear, which has no valid one")
    cov_logA_k: tuple[Pair, Pair] | None
    se_type: Literal["group", "block", "memory", "wald", "none"]
    n_blocks: int
    lambda_at: IntensityAt | None
    passive: PassiveFit | None
    through: ThroughNumbers | None = Field(description="of quotes that mid has run through")
    candidates: dict[str, Candidate] = Field(description="every A and k that could be emitted")
    window_ms: tuple[int, int] = Field(description="first and last time of the log, ms")
    sides: SideNumbers | None
    n_fills: int = Field(description="first fills used, sum N")
    exposure_s: Positive
    fill_source: FillSource
    fill_fraction: Finite | None = Field(description="filled share at the first fill's ms")
    fill_fraction_eventual: Finite | None = Field(description="filled share in the end")
    fill_scale: Finite | None = Field(description="by which to scale the consumer's order size")
    phi: Finite | None = Field(description="over-dispersion by distance, 1 under the model")
    gof: GoodnessOfFit | None
    aic: Finite | None
    oos: OutOfSampleNumbers | None
    replay: ReplayNumbers | None
    lambda_quoted: tuple[QuotedIntensity, ...]
    predictive: PredictiveNumbers | None
    block_effects: BlockEffectNumbers | None
    other_intervals: dict[str, Intervals]
    firth: PlainNumbers | None = Field(description="for fewer than 30 fills")
    original: PlainNumbers | None
    original_error: str | None = Field(description="why the original notebook gives no numbers")
    k_price: Positive = Field(description="decay per unit of quote currency, k / tick_size")
    mean_state_gap_ms: Finite | None
    mid_clock_ms: MidClockNumbers | None = Field(description="the clock that k is a number for")
    quality: Literal["ok", "warn"]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[FindingNumbers, ...] = Field(description="reasons and notes with codes")
    inputs_sha256: dict[str, str]
    settings: dict[str, Any]
    versions: dict[str, str]
    created_utc: str
    outdated: str | None = Field(
        default=None,
        description="set where a later batch found the symbol's log missing or stale: since when",
    )
    valid_until: str | None = Field(
        default=None,
        description="UTC, by valid_for of calibration.yaml from the end of the data; null for ever",
    )
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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the result."""
    return dict(_versions())


@cache
def _versions() -> Mapping[str, str]:
    """Read once: each is a search through the packages and a long text to parse."""
    found = {"mm-calibrate": __version__, "python": platform.python_version()}
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
