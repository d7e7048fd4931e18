"""Numbers as people read them: digits from the uncertainty, never more than is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.formatting import duration, figures, ranged, rounded, span

FINITE = st.floats(1e-4, 1e6)


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.75, 0.36, 1.56, "0.75 (0.36–1.6)"),
        (0.8901, 0.778, 1.002, "0.89 (0.78–1.00)"),
        (1.234, 1.22, 1.249, "1.234 (1.220–1.249)"),
        (0.0005, 0.0001, 0.0025, "0.00050 (0.00010–0.0025)"),
        (1.0, 0.9, math.inf, "1.00 (at least 0.900)"),
        (-0.0217, -0.0417, -0.0017, "−0.022 (−0.042 to −0.0017)"),
        (3616.0, 2002.0, 6531.0, "3,600 (2,000–6,500)"),
        (0.5, math.nan, math.nan, "0.500"),
    ],
)
def test_an_estimate_stands_with_low_and_high(
    value: float, low: float, high: float, shown: str
) -> None:
    assert ranged(value, low, high) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (2002.0, 6531.0, "2,000–6,500"),
        (2.9, 50.2, "3–50"),
        (0.031, 4.2, "0.03–4.2"),
        (-0.042, -0.002, "−0.042 to −0.002"),
        (-0.0001, 0.5, "0.00 to 0.50"),
        (math.nan, math.nan, "–"),
        (1.0, 1.0, "1.00–1.00"),
        (1.0, math.inf, "at least 1.00"),
    ],
)
def test_an_interval_has_the_digits_of_its_width(low: float, high: float, shown: str) -> None:
    assert span(low, high) == shown


@given(FINITE, st.floats(0.01, 2.0))
def test_what_is_shown_is_near_what_is_meant(value: float, error: float) -> None:
    low, high = value * math.exp(-error), value * math.exp(error)
    shown = float(rounded(value, low, high).replace(",", ""))
    assert abs(shown - value) <= 0.051 * (high - low)
    ends = [float(end.replace(",", "")) for end in span(low, high).split("–")]
    assert ends[0] > 0
    assert abs(ends[1] - high) <= 0.051 * (high - low)


def test_numbers_and_times_are_said_as_people_say_them() -> None:
    assert [figures(v) for v in (0, 1234.5, 0.00012345, 1e9, math.nan)] == [
        "0", "1,234", "0.000123", "1.00e+09", "–",
    ]  # fmt: skip
    assert [duration(s) for s in (45, 648, 10_000, 259_200, 72_403_200)] == [
        "45 s", "10.8 min", "2.8 h", "3.0 days", "838 days",
    ]  # fmt: skip
