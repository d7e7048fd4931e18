"""The one list of settings: names, types, units, defaults and meaning.

Everything that can be set is a field here. The parameters cell of the template, the driver's
``-p``, ``calibration.yaml`` and the environment all end in one :class:`Settings`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mm.core.errors import SettingsError

FitMethod = Literal["blend", "placement", "poisson_mle", "log_linear"]
Distance = Literal["absolute", "signed"]
#: What filled the orders of a log: recorded trades (``trade_driven``), or the consumer's own rule.
FillSource = Literal["trade_driven", "poisson", "mixed", "tape", "unknown"]
#: What filled the orders, in words.
SOURCES: Mapping[FillSource, str] = {
    "trade_driven": "recorded trades; assumes first in the queue",
    "poisson": "a Poisson fill model, one draw a state row",
    "mixed": "recorded trades and a Poisson fill model, joined",
    "tape": "virtual orders on a trade tape: nobody's orders made this",
    "unknown": "not said by the log",
}

_RESERVED = frozenset(
    {
        *("run.json", "summary.csv", "index.html", "calibration.eml", "README.md"),
        *("metrics.prom", "history", "registry"),
    }
)
_SECRET = re.compile(
    r"pass(word|wd|phrase)|(^|_)pass$|secret|token|api_?key|private_?key|access_?key|credential|auth",
    re.IGNORECASE,
)
_SYMBOL = re.compile(r"[^\W_][\w.\-+@:=]*", re.UNICODE)


def _f(default: Any, unit: str, meaning: str, **bounds: Any) -> Any:
    return Field(default=default, description=meaning, json_schema_extra={"unit": unit}, **bounds)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """All settings of one symbol's calibration, checked. Raises ``pydantic.ValidationError``;
    use :meth:`build`, which says the same in one line as a :class:`SettingsError`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    SYMBOL: str = _f("BTCUSDT", "", "which symbol: the name in orders_<SYMBOL>.csv")
    BACKTEST_DIR: str = _f(
        "data", "", "folder the backtest wrote; a relative one is looked for below the repo root"
    )
    RESULT_DIR: str = _f(
        "",
        "",
        "folder for params and points; empty writes nothing",
    )
    MARKET: str = _f("", "", "venue and market of the log, for people: Binance USD-M")
    TICK_SIZE: Positive | None = _f(
        None, "quote currency", "unit of the distance; None infers it from the price grid"
    )
    MIN_DELTA_TICKS: NonNegative = _f(0.0, "ticks", "nearest distance that is used")
    MAX_DELTA_TICKS: NonNegative = _f(50.0, "ticks", "farthest distance that is used")
    MIN_EXPOSURE_S: NonNegative = _f(
        5.0, "s", "exposure a bucket needs to enter the log_linear fit"
    )
    POISSON_DT_MS: Annotated[int, Field(ge=1, le=3_600_000)] | None = _f(
        None, "ms", "time step of the consumer's draw; None takes the mean gap of state rows"
    )
    CONSUMER_CLOCK_MS: Positive | None = _f(
        None, "ms", "how often the consumer reads mid; None takes the log's clock"
    )
    FIT_METHOD: FitMethod = _f(
        "blend", "", "whose A and k are emitted: blend, placement, poisson_mle, log_linear"
    )
    DISTANCE: Distance = _f(
        "absolute", "", "absolute is |price - mid|; signed is negative once mid ran through"
    )
    MAX_STATE_GAP_MS: Annotated[int, Field(ge=1, le=86_400_000)] = _f(
        5000, "ms", "a mid older than this is an outage: no exposure, no events"
    )
    BLOCK_S: Positive = _f(60.0, "s", "length of the time blocks behind the reported interval")
    MIN_FILLS: Annotated[int, Field(ge=2)] = _f(10, "fills", "fewer events are refused")
    MAX_SET_ASIDE_FRACTION: Fraction = _f(
        0.01, "", "malformed share of a file's rows above which it is refused"
    )

    QUOTE_TICKS: str = _f(
        "1, 2, 3, 5, 8, 12", "ticks", "tape: distances of virtual orders from mid"
    )
    REQUOTE_MS: Annotated[int, Field(ge=1)] | None = _f(
        None, "ms", "tape: how often virtual orders are requoted; None takes 250"
    )
    HORIZON_MS: Annotated[int, Field(ge=1)] | None = _f(
        None, "ms", "tape: how long a virtual order rests at most; None takes 2,000"
    )
    LATENCY_MS: Annotated[int, Field(ge=0)] = _f(
        50, "ms", "tape: from placing an order to its being active"
    )
    CANCEL_LATENCY_MS: Annotated[int, Field(ge=0)] = _f(
        50, "ms", "tape: from asking for a cancel to its effect"
    )
    FILL_RULE: Literal["at", "through"] = _f(
        "at",
        "",
        "tape: filled by prints at the price (front of the queue) or through",
    )
    GAMMA: Positive | None = _f(
        None, "1/tick", "risk aversion, for an inventory of one order; None gives no quotes"
    )
    MAKER_FEE_BPS: Annotated[float, Field(ge=-100, le=100)] | None = _f(
        None, "bps", "maker's fee, of the price; negative: a rebate; None takes the fills'"
    )
    OLD_PARAMS_FILE: str = _f(
        "", "", "A and k in use today, judged too; a relative path is below the repo root"
    )
    SCHEDULE_TRAIN_MIN: Positive | None = _f(
        None, "min", "window that a schedule's entry is fitted on; None makes none"
    )
    SCHEDULE_STEP_MIN: Positive | None = _f(
        None, "min", "length of a schedule's entry; None takes SCHEDULE_TRAIN_MIN"
    )
    WARN_RATIO: Positive = _f(
        0.25, "", "a ratio off by more matters: as much as fees move a maker's edge"
    )
    WARN_FILL_SHARE: Fraction = _f(
        0.10, "", "share of the fills that must lie where a shape is off to be warned of"
    )
    WARN_P: Fraction = _f(
        0.01, "", "what chance alone gives more rarely than this is taken as real, test by test"
    )
    WARN_FILL_FRACTION: Fraction = _f(
        0.9, "", "filled share at the first fill below which inventory is too fast"
    )
    WARN_TAU: Positive = _f(
        0.6, "", "spread of log lambda between blocks that a constant A can't stand for"
    )
    WARN_LAG1: Fraction = _f(
        0.15, "", "correlation of neighbouring gaps between fills, 0 to 1, that bursts give"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: Any) -> Any:
        expected = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and expected is not bool:
            raise ValueError("a truth value (YAML reads ON, yes and no as one: quote it)")
        if expected is str and isinstance(value, int | float):
            raise ValueError(
                f"the number {value!r}; give text: -r {info.field_name} …, or quote it in YAML"
            )
        return value

    @field_validator("SYMBOL")
    @classmethod
    def _symbol_is_a_file_name(cls, value: str) -> str:
        if value:
            check_symbol(value)
        return value

    @field_validator("QUOTE_TICKS", mode="before")
    @classmethod
    def _distances(cls, value: Any) -> Any:
        """A list, as YAML has it, or text: numbers above 0."""
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        try:
            ticks = [float(part) for part in text.split(",")]
        except ValueError:
            ticks = []
        if not ticks or not all(0 < x < 1e9 for x in ticks) or len(set(ticks)) < len(ticks):
            raise ValueError(f"{text[:60]!r}, expected different distances above 0: 1, 2, 3, 5")
        return text

    @property
    def quote_ticks(self) -> tuple[float, ...]:
        """The ladder of virtual orders, nearest first."""
        return tuple(sorted(float(part) for part in self.QUOTE_TICKS.split(",")))

    @property
    def requote_ms(self) -> int:
        """REQUOTE_MS, or what stands for it."""
        return self.REQUOTE_MS or 250

    @property
    def horizon_ms(self) -> int:
        """HORIZON_MS, or what stands for it."""
        return self.HORIZON_MS or 2_000

    @classmethod
    def build(cls, values: Mapping[str, Any], source: str = "settings") -> Settings:
        """Checked settings from plain values.

        Raises SettingsError, one line that names the source, the setting, what was found and
        what it should be.
        """
        check_names(values, source)
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(f"{source}: {_one_line(error)}") from None

    def check_range(self, source: str) -> Settings:
        """These settings, if some distance is between MIN_DELTA_TICKS and MAX_DELTA_TICKS.

        Not a matter of one source: one may set the lower end, another the upper one.
        """
        low, high = self.MIN_DELTA_TICKS, self.MAX_DELTA_TICKS
        if high < low:
            raise SettingsError(
                f"{source}: MAX_DELTA_TICKS: found {high:g}, below MIN_DELTA_TICKS ({low:g})"
            )
        return self

    def changed(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as plain values."""
        return self.model_dump(exclude_defaults=True)


def unit_of(name: str) -> str:
    """The unit of a setting, empty where it has none."""
    extra = Settings.model_fields[name].json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def check_names(values: Mapping[str, Any], source: str) -> None:
    """Raise SettingsError for the first name that is no setting, with the likeliest one."""
    for name in values:
        if name not in Settings.model_fields:
            if name == "OUT_DIR":
                raise SettingsError(
                    f"{source}: OUT_DIR was the backtest's folder; name it with BACKTEST_DIR or "
                    "--data-dir, and the results' one with --out-dir"
                )
            if _SECRET.search(str(name)):
                raise SettingsError(
                    f"{source}: {str(name)[:60]} looks like a secret; parameters are recorded in "
                    "notebooks and reports, so take it away"
                )
            near = difflib.get_close_matches(str(name).upper(), Settings.model_fields, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else "see README.md for the list"
            raise SettingsError(f"{source}: {name} is not a setting; {hint}")


def check_symbol(symbol: str) -> None:
    """Raise SettingsError unless the symbol is safe as part of a file name."""
    if symbol in _RESERVED or symbol.endswith(".part"):
        raise SettingsError(f"symbol {symbol!r} is the name of a results file; rename its files")
    if len(symbol) > 100 or ".." in symbol or not _SYMBOL.fullmatch(symbol):
        raise SettingsError(
            f"symbol {symbol[:60]!r} can't be part of a file name; use up to 100 letters, digits "
            "and . _ - + @ : =, beginning with a letter or digit, without '..'"
        )


def _one_line(error: ValidationError) -> str:
    """The first problem of a pydantic error in words of ours."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    message = first["msg"].removeprefix("Value error, ")
    found = first.get("input")
    if first["type"] == "value_error":
        return f"{name}: found {message}"
    unit = unit_of(name)
    wanted = message[0].lower() + message[1:]
    return f"{name}: found {found!r}; {wanted}{f' ({unit})' if unit else ''}"


def as_markdown() -> str:
    """The list of settings as the docs show it."""
    lines = [
        "# Settings",
        "",
        "Made by `python -m mm.core.settings > docs/settings.md` from the one model.",
        "",
        "| setting | default | unit | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | `{field.default!r}` | {unit_of(name)} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
