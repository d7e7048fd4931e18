"""Are the times milliseconds? Other units give plausible wrong numbers."""

from __future__ import annotations

import numpy as np

from mm.core.arrays import Floats
from mm.core.errors import InputError


def check_unit_of_time(times: Floats, label: str, column: str) -> None:
    """Raise InputError for a column whose middle value is no time in ms since the epoch.

    Small numbers pass: they are clocks that start at zero.
    """
    finite = times[np.isfinite(times)]
    if not finite.size:
        return
    middle = float(np.median(finite))
    # 1e11 ms is 1973 and 1e14 ms is 5138.
    unit = "s" if 5e8 < middle < 1e11 else "µs" if 1e14 < middle < 1e17 else ""
    unit = "ns" if middle >= 1e17 else unit
    if unit:
        raise InputError(
            f"times are in {unit} (for example {middle:.0f})",
            where=label,
            column=column,
            remedy="write milliseconds since the epoch",
        )
