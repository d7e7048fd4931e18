"""Array types, and the one sum that everything here is made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
#: +1 BUY, -1 SELL.
Sides = npt.NDArray[np.int8]


def sums_by(group: npt.NDArray[np.integer], values: npt.NDArray[np.generic], n: int) -> Floats:
    """Sum of values in each of n groups, float64. ``group``, ``values``: shape (m,)."""
    return np.bincount(group, weights=values, minlength=n).astype(np.float64)
