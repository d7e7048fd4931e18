"""Does the level of lambda hold still over times as long as the log, or does the log end before?

Of the rescaled times u_i of N events in [0, 1], c_j = sqrt(2/N) sum_i cos(pi j u_i) are independent
N(0, 1) while the level is constant, whatever bursts there are: these raise all frequencies alike.
A level that wanders slowly raises the lowest ones only, and then minutes are no independent
witnesses: the log holds few swings of it, the interval by block is too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft, special

from mm.core.arrays import Floats, Mask
from mm.fitting.covariance import LEVEL

#: Frequencies 1 to 4, half periods of the log's length, are compared with periods of 20 to 120 s:
#: bursts that end within a block or two raise those as well, and the interval by block holds them.
_LOW = 4
_PERIODS_S = (20.0, 120.0)
#: What is held against memory: the two lowest frequencies, with the quantile of t(2), and wider.
#: t(2) alone covers 83 to 87 % where memory is much longer than the log, with 1.4 it is 86 to 92.
_LOWEST = 2
_WIDER = 1.4
_SMALL = 0.025
_FEWEST = 12


@dataclass(frozen=True)
class Rescaled:
    """Events on the rescaled clock, one group of runs after the other, in time order; shape (n,).

    ``gaps``: expected events since the event before, or since the group's start. ``new``: whether
    no event of the group came before in the same ms, see ``mm.diagnostics.time_rescaling``.
    ``position``: what the clock showed over what it showed in the end, in [0, 1].
    """

    gaps: Floats
    new: Mask
    position: Floats


@dataclass(frozen=True)
class Memory:
    """Low frequencies of the rescaled times against those of 20 to 120 s.

    ``ratio``: mean c_j^2 of one over the other, F distributed while the spectrum is flat, with
    its p-value. ``phi``: mean c_j^2 of the two lowest. ``n_events``: N.
    """

    ratio: float
    p: float
    phi: float
    n_events: int

    @property
    def outlasts_log(self) -> bool:
        """Whether the level wandered too slowly for the log's length."""
        return self.p < _SMALL and self.phi > 1.0

    @property
    def half_width(self) -> float:
        """What log lambda may be off for it, 95 %: 1.4 t(2; .975) sqrt((phi - 1) / N)."""
        if not self.outlasts_log:
            return 0.0
        quantile = float(special.stdtrit(_LOWEST, 0.5 + LEVEL / 2.0))
        return _WIDER * quantile * math.sqrt((self.phi - 1.0) / self.n_events)


def cosines(position: Floats, n: int) -> Floats:
    """c_1 .. c_n of N positions in [0, 1]; counted on a grid, fine for the highest of them."""
    size = 8 * n
    at = np.minimum((position * size).astype(np.int64), size - 1)
    counts = np.bincount(at, minlength=size).astype(np.float64)
    # scipy's DCT-II is twice the sum.
    return np.asarray(fft.dct(counts, type=2)[1 : n + 1] / math.sqrt(2.0 * len(position)))


def memory(position: Floats, span_s: float) -> Memory | None:
    """Compare low frequencies with higher ones; None for a log too short or too thin for it.

    Parameters
    ----------
    position : of the events on the rescaled clock as a share of all of it, shape (n,).
    span_s : time that the clock ran, seconds.
    """
    shortest, longest = _PERIODS_S
    first = max(math.ceil(2.0 * span_s / longest), _LOW + 1)
    last = math.floor(2.0 * span_s / shortest)
    if len(position) < _FEWEST or last - first < 2 * _LOW:
        return None
    power = cosines(position, last) ** 2
    low, high = float(power[:_LOW].mean()), float(power[first - 1 :].mean())
    ratio = low / high
    p = float(special.fdtrc(_LOW, last - first + 1, ratio))
    return Memory(ratio, p, float(power[:_LOWEST].mean()), len(position))
