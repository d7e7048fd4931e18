"""Fill-intensity parameters a market maker can trust, from backtest logs.

>>> import mm
>>> result = mm.calibrate(orders, fills, state, tick_size=0.1)  # doctest: +SKIP

The names below load on first use, so that ``import mm`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm.calibration import calibrate
    from mm.core.errors import CalibrationError, EstimateError, InputError, SettingsError
    from mm.core.settings import Settings
    from mm.results.outcome import Calibration

__version__ = "0.4.0"
__all__ = [
    "Calibration",
    "CalibrationError",
    "EstimateError",
    "InputError",
    "Settings",
    "SettingsError",
    "calibrate",
]

_HOME = {
    "Calibration": "mm.results.outcome",
    "Settings": "mm.core.settings",
    "calibrate": "mm.calibration",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mm' has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "mm.core.errors")), name)
