"""How sure a fit is: inverse information, the covariance robust by block or by day, skew intervals.

Everything is about theta = (log A, k). A block's contribution to an estimate is psi_b = V u_b: its
score u_b times the inverse information V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import special

from mm.core.arrays import Floats, Ints, sums_by
from mm.exposure.periods import MIN_GROUPS

Interval = tuple[float, float]
#: ``group``: of runs that overlap, days for example. ``memory``: by block, and wider by what the
#: level does over longer times. ``none``: the original's fit, which has no valid interval.
SeType = Literal["group", "block", "memory", "wald", "none"]
Covariance = tuple[tuple[float, float], tuple[float, float]]
#: Sums of psi_a^3, psi_a^2 psi_k, psi_a psi_k^2 and psi_k^3 over blocks.
ThirdMoments = tuple[float, float, float, float]

LEVEL = 0.95
#: Fewer blocks than this can't carry a robust covariance; the interval is then Wald's.
MIN_BLOCKS = 5
#: As few as this can't tell of skewness, nor of what neighbouring blocks have in common.
MIN_SKEW_BLOCKS = 15
NO_SKEW: ThirdMoments = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Uncertainty:
    """Reported uncertainty of (log A, k).

    ``cov``: covariance, by ``se_type``. ``third``: third moments of the blocks' contributions,
    zero where they are not used. ``n_blocks``: blocks, or with ``group`` groups, behind it.
    ``quantile``: two-sided 95 % point of the studentised estimate.
    """

    cov: Covariance
    third: ThirdMoments
    se_type: SeType
    n_blocks: int
    quantile: float

    @classmethod
    def none(cls) -> Uncertainty:
        """Of a fit without a valid interval."""
        unknown = ((math.nan, math.nan), (math.nan, math.nan))
        return cls(unknown, NO_SKEW, "none", 0, math.nan)

    def wider_level(self, half_width: float) -> Uncertainty:
        """The same where log lambda, alike at all distances, may be off by so much more (95 %):
        half-widths add as their squares. Only what is robust by block gets wider."""
        if not half_width > 0 or self.se_type != "block":
            return self
        (aa, ak), (ka, kk) = self.cov
        more = (half_width / self.quantile) ** 2
        return replace(self, cov=((aa + more, ak), (ka, kk)), se_type="memory")

    def variance(self, along: tuple[float, float]) -> float:
        """Variance of x log A + y k for ``along`` = (x, y)."""
        (aa, ak), (_, kk) = self.cov
        x, y = along
        return max(x * x * aa + 2.0 * x * y * ak + y * y * kk, 0.0)

    def offsets(self, along: tuple[float, float]) -> Interval:
        """What to add to the estimate of x log A + y k for the ends of its 95 % interval.

        Symmetric without third moments; with them by Hall (1992), "On the removal of skewness by
        transformation", J. R. Statist. Soc. B 54: the studentised T is transformed to
        g(T) = T + c T^2/3 + c^2 T^3/27 + c/6, c = sum psi^3 / (sum psi^2)^(3/2), whose
        inverse is (3/c) ((1 + c (t - c/6))^(1/3) - 1). In bursts an estimate that saw few of them
        is too low and believes itself too sure: the upper end must reach farther than the lower.
        """
        sd = math.sqrt(self.variance(along))
        x, y = along
        aaa, aak, akk, kkk = self.third
        third = x**3 * aaa + 3.0 * x * x * y * aak + 3.0 * x * y * y * akk + y**3 * kkk
        c = third / sd**3 if sd > 0 else 0.0
        return -sd * _unskewed(self.quantile, c), -sd * _unskewed(-self.quantile, c)


def _unskewed(t: float, c: float) -> float:
    """The studentised value whose transform is t."""
    shifted = t - c / 6.0
    if abs(c) < 1e-7:
        return shifted
    return 3.0 / c * (float(np.cbrt(1.0 + c * shifted)) - 1.0)


def information_inverse(weight: Floats, delta: Floats) -> tuple[Floats, float]:
    """Inverse Fisher information of (log A, k) and delta* = S1/S0.

    Var a = S2/D, Var k = S0/D, Cov(a, k) = S1/D, with moments taken about delta* so that a
    narrow range of distances costs no digits.
    """
    s0 = float(weight.sum())
    star = float((weight * delta).sum()) / s0
    spread = float((weight * (delta - star) ** 2).sum())  # = D / S0
    var_k = 1.0 / spread
    return np.array([[1.0 / s0 + star * star * var_k, star * var_k], [star * var_k, var_k]]), star


def robust_by_block(
    wald: Floats,
    score: Floats,
    block: Ints,
    group: Ints | None = None,
    bread: Floats | None = None,
) -> Uncertainty:
    """Uncertainty robust to anything that holds within a block: V (sum u_b u_b') V B/(B-1).

    The cluster-robust sandwich of Liang & Zeger (1986), with the quantile of t(B-1); a plain
    normal one covers too little at the 6 to 11 blocks of a short run. From MIN_SKEW_BLOCKS on,
    what neighbouring blocks have in common is added where it is positive (bursts straddle
    blocks), and the third moments make intervals skew. From MIN_GROUPS groups on, groups take the
    place of blocks: the minutes of one day share the day's level, and t(G-1) is what few clusters
    need (Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", VI).

    Parameters
    ----------
    wald : inverse information V, shape (2, 2).
    score : contribution of each cell to the score, shape (n, 2).
    block : number of each cell's block, shape (n,); numbers that follow each other are neighbours.
    group : of each cell's runs, shape (n,), in time order; None for one.
    bread : transposed inverse of the estimating equations' slope, shape (2, 2), where that is
        another matrix than ``wald`` (Godambe 1960).

    With fewer than MIN_BLOCKS blocks: Wald's covariance and the normal quantile.
    """
    numbers, of, kind = independent(block, group)
    n_blocks = len(numbers)
    upper = 0.5 + LEVEL / 2.0
    if kind == "wald":
        return Uncertainty(as_tuple(wald), NO_SKEW, "wald", n_blocks, float(special.ndtri(upper)))
    sums = np.column_stack([sums_by(of, column, n_blocks) for column in score.T])
    psi = sums @ (wald if bread is None else bread)
    middle, third = psi.T @ psi, NO_SKEW
    if n_blocks >= MIN_SKEW_BLOCKS:
        middle = middle + _common_to_neighbours(psi, numbers, middle)
        a, k = psi[:, 0], psi[:, 1]
        third = (
            float((a**3).sum()),
            float((a * a * k).sum()),
            float((a * k * k).sum()),
            float((k**3).sum()),
        )
    cov = as_tuple(middle * (n_blocks / (n_blocks - 1)))
    quantile = float(special.stdtrit(n_blocks - 1, upper))
    return Uncertainty(cov, third, kind, n_blocks, quantile)


def independent(block: Ints, group: Ints | None) -> tuple[Ints, Ints, SeType]:
    """What counts as independent: numbers of groups or else blocks, which of them each cell is in,
    shape (n,), and what a covariance over them is robust to."""
    if group is not None:
        numbers, of = np.unique(group, return_inverse=True)
        if len(numbers) >= MIN_GROUPS:
            return numbers, of, "group"
    numbers, of = np.unique(block, return_inverse=True)
    return numbers, of, "block" if len(numbers) >= MIN_BLOCKS else "wald"


def _common_to_neighbours(psi: Floats, numbers: Ints, own: Floats) -> Floats:
    """Positive part of half the lag-1 sum of psi_b psi_(b+1)' and its transpose, shape (2, 2).

    Bartlett's weight for one lag (Newey & West 1987); the negative part would be noise in most
    logs and make intervals too narrow. Positive by the measure of ``own``, so that units don't
    matter.
    """
    follows = np.flatnonzero(np.diff(numbers) == 1)
    lagged = psi[follows].T @ psi[follows + 1]
    lagged = 0.5 * (lagged + lagged.T)
    if not np.linalg.det(own) > 1e-12 * own[0, 0] * own[1, 1]:
        return np.zeros((2, 2))
    root = np.linalg.cholesky(own)
    inverse = np.linalg.inv(root)
    value, vector = np.linalg.eigh(inverse @ lagged @ inverse.T)
    back = root @ vector
    return np.asarray((back * np.maximum(value, 0.0)) @ back.T)


def as_tuple(matrix: Floats) -> Covariance:
    """A 2 × 2 matrix as nested tuples."""
    (aa, ak), (ka, kk) = matrix.tolist()
    return (aa, ak), (ka, kk)
