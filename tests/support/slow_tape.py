"""Virtual orders in plain loops, one at a time: what ``mm.tape.virtual`` must give."""

from __future__ import annotations

import math

from mm.tape.tape import Tape
from mm.tape.virtual import Quoter

#: (placed ms, side, price in ticks, first fill ms or None, rejected)
Order = tuple[int, int, int, int | None, bool]


def virtual_orders(tape: Tape, quoter: Quoter) -> list[Order]:
    """All orders of all sides and distances."""
    out: list[Order] = []
    times = list(range(tape.start_ms, tape.end_ms, quoter.requote_ms))
    for side in (1, -1):
        for distance in quoter.distances:
            out += _of_one(tape, quoter, side, distance, times)
    return sorted(out, key=lambda order: (order[0], order[1], order[2]))


def _of_one(
    tape: Tape, quoter: Quoter, side: int, distance: float, times: list[int]
) -> list[Order]:
    out: list[Order] = []
    resting: tuple[int, int] | None = None  # placed, price
    for number, time in enumerate(times):
        price = _price(tape, side, distance, time)
        if resting is not None:
            placed, its = resting
            filled = _first(tape, quoter, side, its, placed, time + quoter.cancel_latency_ms)
            over = time >= placed + quoter.horizon_ms
            gone = filled is not None and filled < time
            broken = any(times[number - 1] < gap <= time for gap in tape.gap_start_ms.tolist())
            if not gone and not over and not broken and price == its:
                continue
            if over and not gone:
                filled = _first(
                    tape,
                    quoter,
                    side,
                    its,
                    placed,
                    times[-1] + 10**9 if price == its else time + quoter.cancel_latency_ms,
                )
            out.append((placed, side, its, filled, False))
            resting = None
        if price is not None and _crosses(tape, side, price, time + quoter.latency_ms):
            out.append((time, side, price, None, True))
        elif price is not None:
            resting = time, price
    if resting is not None:
        placed, its = resting
        out.append((placed, side, its, _first(tape, quoter, side, its, placed, 2**62), False))
    return out


def _price(tape: Tape, side: int, distance: float, time: int) -> int | None:
    row = _row(tape, time)
    if row is None or time - tape.quote_ms[row] > tape.max_quote_age_ms:
        return None
    for start, end in zip(tape.gap_start_ms.tolist(), tape.gap_end_ms.tolist(), strict=True):
        if start <= time < end:
            return None
    wish = float(tape.mid[row] - side * distance) / tape.tick
    return math.floor(wish + 1e-6) if side > 0 else math.ceil(wish - 1e-6)


def _row(tape: Tape, time: int) -> int | None:
    times: list[int] = tape.quote_ms.tolist()
    found = [row for row, at in enumerate(times) if at <= time]
    return found[-1] if found else None


def _crosses(tape: Tape, side: int, price: int, arrival: int) -> bool:
    row = _row(tape, arrival)
    assert row is not None
    best = float((tape.ask if side > 0 else tape.bid)[row]) / tape.tick
    return price >= best if side > 0 else price <= best


def _first(
    tape: Tape, quoter: Quoter, side: int, price: int, placed: int, cancelled: int
) -> int | None:
    begin = placed + quoter.latency_ms
    end = min(cancelled, begin + quoter.horizon_ms, tape.end_ms + 1)
    end = min([end, *(gap for gap in tape.gap_start_ms.tolist() if gap > placed)])
    for time, print_, sold in zip(
        tape.trade_ms.tolist(), tape.price.tolist(), tape.sold.tolist(), strict=True
    ):
        beyond = side * (price - print_ / tape.tick)
        hit = beyond > -1e-6 if quoter.fill_rule == "at" else beyond > 1e-6
        if begin <= time < end and sold == (side > 0) and hit:
            return int(time)
    return None
