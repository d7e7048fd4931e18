"""What ``calibration.yaml`` expects of a batch: which symbols, and how old their data may be.

    expected: [BTCUSDT, ETHUSDT]
    warn_after: {count: 26, period: hour}
    error_after: {count: 50, period: hour}

The words are those of dbt's source freshness; what ages is the log's last row, not its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm.core.errors import SettingsError

#: The keys that stand beside ``defaults:`` and ``symbols:``.
KEYS = ("expected", "warn_after", "error_after")
_PERIOD_S = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}


@dataclass(frozen=True)
class Expected:
    """``symbols``: all that should be there, None if the batch before says which. Ages in seconds,
    None where any will do."""

    symbols: tuple[str, ...] | None = None
    warn_after_s: float | None = None
    error_after_s: float | None = None


def expected_of(content: Mapping[str, Any], source: str) -> Expected:
    """What a configuration's keys say. Raises SettingsError, one line."""
    symbols = content.get("expected")
    if symbols is not None and not (
        isinstance(symbols, list) and all(isinstance(name, str) for name in symbols)
    ):
        raise SettingsError(
            f"{source}: expected: found {symbols!r}, not a list of symbols such as [BTCUSDT]"
        )
    warn, error = (seconds_of(content.get(name), f"{source}: {name}") for name in KEYS[1:])
    if warn is not None and error is not None and error < warn:
        raise SettingsError(f"{source}: error_after is shorter than warn_after; exchange them")
    return Expected(None if symbols is None else tuple(symbols), warn, error)


def seconds_of(given: Any, where: str) -> float | None:
    """Seconds of ``{count: 26, period: hour}``. Raises SettingsError that names ``where``."""
    if given is None:
        return None
    known = isinstance(given, dict) and set(given) == {"count", "period"}
    count, period = (given["count"], given["period"]) if known else (None, None)
    if (
        isinstance(count, bool)
        or not isinstance(count, int | float)
        or not 0 < count < 1e6
        or not (isinstance(period, str) and period in _PERIOD_S)
    ):
        raise SettingsError(
            f"{where}: found {given!r}; write {{count: 26, period: hour}}, the period minute, hour "
            "or day"
        )
    return count * _PERIOD_S[period]
