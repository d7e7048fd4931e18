"""Rules on virtual orders: how much of lambda is a choice of whoever placed them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mm.core.settings import Settings
from mm.diagnostics.rules.model import off
from mm.diagnostics.verdict import Finding
from mm.logs.log import BacktestLog
from mm.tape.log import TapeLog

#: A smaller share of the tape's time goes without saying.
_WORTH_A_NOTE = 0.01


def of_tape(log: BacktestLog, settings: Settings) -> Iterator[Finding]:
    """What was chosen, and what is not known of the tape."""
    if isinstance(log, TapeLog):
        yield from _of_gaps(log, settings)
        yield from _of_queue(log, settings)
        yield from _of_horizon(log, settings)


def _of_gaps(log: TapeLog, settings: Settings) -> Iterator[Finding]:
    unknown = float(np.average([t.unknown for t in log.tapes], weights=[t.span for t in log.tapes]))
    if unknown > _WORTH_A_NOTE:
        yield Finding(
            "warn" if unknown > settings.WARN_RATIO else "note",
            "outages",
            f"{unknown:.0%} of the tape's time lies where quotes are older than MAX_STATE_GAP_MS = "
            f"{settings.MAX_STATE_GAP_MS}, not there yet, or prints are missing: no order rests "
            "there",
            "Quotes are written when they change only, or the recording stopped",
            "Where quotes change that rarely, raise MAX_STATE_GAP_MS",
            unknown,
            f"above {settings.WARN_RATIO:.0%}",
        )


def _of_queue(log: TapeLog, settings: Settings) -> Iterator[Finding]:
    """The place in the queue, which no tape tells."""
    front, back = log.queue
    if front is None or back is None or not back.rate > 0:
        return
    ratio = front.rate / back.rate
    yield Finding(
        "warn" if off(ratio, settings) else "note",
        "queue",
        f"λ at {front.delta:g} ticks is {ratio:.2f} times as large at the front of the queue "
        "(first print at the price) as at its back (first print through it)",
        "A tape does not tell where an order would have stood",
        "Take both as a bracket, or FILL_RULE=through to be careful",
        ratio,
        f"off by more than {settings.WARN_RATIO:.0%}",
    )


def _of_horizon(log: TapeLog, settings: Settings) -> Iterator[Finding]:
    """How long orders rest: a warning where nobody said."""
    by_horizon = {one.horizon_ms: one for one in log.alternatives if one.fill_rule == "at"}
    rates = ", ".join(
        f"{one.rate:.3g} for {ms / 1000:g} s" for ms, one in sorted(by_horizon.items())
    )
    shown = f"λ at {log.alternatives[0].delta:g} ticks, 1/s: {rates}" if rates else ""
    names = [n for n in ("REQUOTE_MS", "HORIZON_MS") if getattr(settings, n) is None]
    if names:
        yield Finding(
            "warn",
            "horizon",
            f"{' and '.join(names)} not given: virtual orders are requoted every "
            f"{settings.requote_ms:,} ms and rest {settings.horizon_ms:,} ms at most",
            f"A falls with the time that orders rest. {shown}".strip(),
            "Set both to what your quotes do",
        )
    elif shown:
        yield Finding("note", "horizon", f"Orders that rest longer see another market. {shown}")
