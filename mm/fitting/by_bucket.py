"""Sums by bucket over orders, some of them at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats, Ints, sums_by


class BucketSums:
    """Sums of columns by a whole number, such as a bucket of distances."""

    def __init__(self) -> None:
        self._labels: list[Ints] = []
        self._sums: list[Floats] = []

    def add(self, bucket: Ints, columns: Sequence[npt.NDArray[np.generic]]) -> None:
        """Items with their bucket and what is summed of them, shape (m,) each."""
        of, labels = pd.factorize(bucket)
        self._labels.append(labels)
        self._sums.append(np.array([sums_by(of, values, len(labels)) for values in columns]))

    def total(self) -> tuple[Ints, Floats]:
        """The buckets that hold anything, in order, and their sums, shape (columns, buckets)."""
        of, labels = pd.factorize(np.concatenate(self._labels), sort=True)
        columns = np.concatenate(self._sums, axis=1)
        return labels, np.array([sums_by(of, values, len(labels)) for values in columns])
