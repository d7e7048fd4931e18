"""What ``calibration.yaml`` says on parameters that go live: until when they hold, and what keeps
them from it.

    valid_for: {count: 3, period: day}
    block_codes: [level, out_of_sample]
    max_move: 0.5
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm.core.errors import SettingsError
from mm.core.expected import seconds_of

#: The keys that stand beside ``defaults:`` and ``symbols:``.
KEYS = ("valid_for", "block_codes", "max_move")
#: Codes of findings that a calibration with parameters can have, as docs/verdict.md lists them.
CODES = frozenset(
    {
        *("never_ended", "cut_runs", "state_rows", "malformed_rows", "level", "shape", "k_unknown"),
        *("sides", "halves", "out_of_sample", "trend", "memory", "bursts", "interval"),
        *("horizon", "queue"),
        *("dispersion", "schedule", "mid_clock", "consumer_clock", "dt_ms", "outages"),
        *("constant_mid", "fill_source", "tick_changed", "tick_size", "takers", "sparse", "input"),
        *("same_time", "fill_fraction", "exponential"),
    }
)


@dataclass(frozen=True)
class Policy:
    """``valid_for_s``: from the end of the data, None for ever. ``block_codes``: warnings that keep
    parameters from going live. ``max_move``: the largest move of λ and of 1/k against what is live,
    0.5 for one half more or a third less; None for any."""

    valid_for_s: float | None = None
    block_codes: tuple[str, ...] = ()
    max_move: float | None = None


def policy_of(content: Mapping[str, Any], source: str) -> Policy:
    """What a configuration's keys say. Raises SettingsError, one line."""
    blocked = content.get("block_codes") or []
    if not isinstance(blocked, list):
        raise SettingsError(f"{source}: block_codes: found {blocked!r}, not a list such as [level]")
    for code in blocked:
        if code not in CODES:
            near = difflib.get_close_matches(str(code), sorted(CODES), 1, 0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise SettingsError(
                f"{source}: block_codes: {code!r} is no code of a warning; {hint}docs/verdict.md "
                "lists them"
            )
    move = content.get("max_move")
    known = isinstance(move, int | float) and not isinstance(move, bool)
    if move is not None and not (known and 0 < move < 1e6):
        raise SettingsError(
            f"{source}: max_move: found {move!r}, not a positive number such as 0.5"
        )
    valid_for_s = seconds_of(content.get("valid_for"), f"{source}: valid_for")
    return Policy(valid_for_s, tuple(blocked), None if move is None else float(move))
