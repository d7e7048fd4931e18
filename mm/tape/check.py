"""What a tape can't be: each fault in a word, before it becomes a plausible wrong number.

Prints happen at the best quotes. Held against the mid that was in force just before, buyers print
above and sellers below it (on real tapes 95 of 100), and the middle distance is half a spread."""

from __future__ import annotations

import numpy as np

from mm.core.arrays import Floats, Ints, Mask, Sides
from mm.core.errors import InputError

#: Share of the rows that a recorder may have late, crossed or twice; more is another file.
_FEW = 0.01
#: Prints that are looked at, spread evenly; with fewer than so many chance tells as much.
_LOOKED_AT, _FEWEST = 1000, 20
#: Shares of the prints on their aggressor's side of mid: half by chance, nearly all on a tape, next
#: to none on one whose sides are turned round. The borders lie in the middle.
_AGREES, _TURNED = 0.7, 0.3
#: Clocks off by less are told of, not refused: feeds of one venue are, by their way through the
#: network.
_SLIGHT_MS = 250
#: Offsets that are tried, ms: up to 5 s, up to a minute, half hours of a time zone.
_OFFSETS = np.concatenate(
    [25 * np.arange(-200, 201), 250 * np.arange(-240, 241), 1_800_000 * np.arange(-28, 29)]
)
#: A wait for a print that is so many times as long as 999 of 1000, and as long as this, is no pause
#: of the market: at one rate it would come once in 10^15.
_LONGEST, _SILENCE_MS = 5.0, 60_000.0


def in_order(time_ms: Ints, label: str, said: list[str]) -> Ints | None:
    """Row numbers that put the rows in the order of their time, None where they are.

    Raises InputError where that is no matter of some late rows."""
    step = np.diff(time_ms)
    back = np.flatnonzero(step < 0)
    if not len(back):
        return None
    if len(back) > 9 * np.count_nonzero(step > 0):
        raise InputError(
            "time runs backwards: the newest row stands first",
            where=label,
            remedy="turn the file round, oldest row first",
        )
    if len(back) > _FEW * len(time_ms):
        raise InputError(
            f"rows are out of order: {len(back):,} of {len(time_ms):,} are before the one above",
            where=label,
            row=int(back[0]) + 3,
            remedy="sort them by time, or look whether they were shuffled",
        )
    since = time_ms - time_ms[0]
    again = back[(since[back + 1] < 0.1 * since[back]) & (step[back] < -_SILENCE_MS)]
    if len(again):
        raise InputError(
            "time starts again",
            where=label,
            row=int(again[0]) + 3,
            remedy="the file holds two recordings, or one twice: keep one a file",
        )
    said.append(f"{label}: {len(back):,} rows were late; sorted by time")
    return np.argsort(time_ms, kind="stable")


def repeated(ids: Ints, label: str) -> Mask | None:
    """Which prints stand there again by their id, None where none does.

    Raises InputError where many do."""
    if (ids < 0).any() or (np.diff(ids) > 0).all():
        return None
    again = np.ones(len(ids), dtype=np.bool_)
    again[np.unique(ids, return_index=True)[1]] = False
    if again.mean() > _FEW:
        raise InputError(
            f"{again.mean():.0%} of the prints have an id that an earlier one has",
            where=label,
            row=int(np.flatnonzero(again)[0]) + 2,
            remedy="the recording stands in it twice: keep one",
        )
    return again if again.any() else None


def check_doubled(time_ms: Ints, price: Floats, label: str) -> None:
    """Raise InputError where each print stands twice: in no ms an odd number at one price."""
    time_ms, price = time_ms[:10_000], price[:10_000]
    order = np.lexsort((price, time_ms))
    new = np.append(True, (np.diff(time_ms[order]) > 0) | (np.diff(price[order]) != 0))
    counts = np.diff(np.flatnonzero(new))
    if len(counts) >= _FEWEST and not (counts % 2).any():
        raise InputError(
            "each print stands twice",
            where=label,
            remedy="was the file joined with itself? keep one",
        )


def crossed(bid: Floats, ask: Floats, label: str, said: list[str]) -> Mask | None:
    """Which quotes are crossed, None where none is. Raises InputError where many are."""
    found = np.asarray(bid > ask)
    if not found.any():
        return None
    n, first = int(found.sum()), int(np.flatnonzero(found)[0])
    if n > _FEW * len(found):
        swapped = n > 0.5 * len(found)
        raise InputError(
            f"the bid is above the ask in {n:,} of {len(found):,} rows ({bid[first]:g} > "
            f"{ask[first]:g})",
            where=label,
            row=first + 2,
            remedy="bid and ask are named the other way round"
            if swapped
            else "look how the book was built: updates were lost, or two books are mixed",
        )
    said.append(f"{label}, row {first + 2}: {n:,} crossed quotes are left out")
    return found


def check_together(
    trade_ms: Ints, price: Floats, sold: Mask, quote_ms: Ints, mid: Floats, label: str
) -> str:
    """Whether prints and quotes tell of one market, at one time; a remark where clocks are off a
    little.

    Raises InputError: no time in common, one aggressor only, another clock, sides turned round."""
    first, last = max(trade_ms[0], quote_ms[0]), min(trade_ms[-1], quote_ms[-1])
    if last <= first:
        raise InputError(
            f"no time in common: prints are {_span(trade_ms)}, quotes {_span(quote_ms)}",
            where=label,
            remedy="take the two files of one time, by one clock, in UTC",
        )
    if len(sold) > _FEWEST and (sold.all() or not sold.any()):
        raise InputError(
            f"all aggressors {'sold' if sold[0] else 'bought'}",
            where=label,
            remedy="write who took: the fills of one side would be missing",
        )
    rows = np.flatnonzero((trade_ms > first) & (trade_ms <= last))
    rows = rows[np.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).astype(int)]
    if len(rows) < _FEWEST:
        return ""
    time, price, side = trade_ms[rows], price[rows], np.where(sold[rows], -1, 1)

    def away(offset: int) -> Floats:
        row = np.searchsorted(quote_ms, time + offset) - 1
        return np.asarray(price - mid[np.maximum(row, 0)])

    own = away(0)
    others = [float(np.median(np.abs(away(int(offset))))) for offset in _OFFSETS]
    best = int(_OFFSETS[int(np.argmin(others))])
    # Where mid hardly moves every clock fits, and so none is better by half.
    nearer = min(others) < 0.5 * float(np.median(np.abs(own)))
    off = nearer and _agreement(away(best), side) >= _AGREES
    if off and abs(best) >= _SLIGHT_MS:
        raise InputError(
            f"the clocks of prints and quotes are {abs(best) / 1000:g} s apart: prints fit the "
            f"quotes of {'later' if best > 0 else 'earlier'} times",
            where=label,
            remedy="take times of one clock (the venue's); look whether times were turned round",
        )
    if off:
        return (
            f"prints fit the quotes of {abs(best)} ms {'later' if best > 0 else 'earlier'} better "
            "than those of their own time: fills are seen that much off mid"
        )
    agrees = _agreement(own, side)
    if agrees < _AGREES:
        turned = agrees < _TURNED
        raise InputError(
            f"only {agrees:.0%} of the aggressors that sold printed below the mid, or bought above",
            where=label,
            remedy="buy and sell are swapped: is_buyer_maker true means that the aggressor sold"
            if turned
            else "the prints are not of the market of the quotes: look whether rows were shuffled, "
            "times turned round, or files of two symbols or days put together",
        )
    return ""


def _agreement(away: Floats, side: Sides) -> float:
    """Share of the prints off mid that lie on their aggressor's side of it."""
    told = away != 0
    return float((away[told] * side[told] > 0).mean()) if told.any() else 1.0


def _span(time_ms: Ints) -> str:
    first, last = np.array([time_ms[0], time_ms[-1]]).astype("datetime64[ms]").astype(str)
    return f"from {first} to {last} UTC"


def missing_prints(time_ms: Ints, ids: Ints | None, label: str, said: list[str]) -> Ints:
    """Times [from, to) in which the recording failed, int64 (g, 2), in order and apart: between
    ids that are no neighbours, where ids count on by one, and silences that no market makes."""
    waits = np.diff(time_ms)
    longest = float(np.quantile(waits, 0.999)) if len(waits) else 0.0
    gap = waits > max(_SILENCE_MS, _LONGEST * longest)
    if gap.any():
        said.append(
            f"{label}: no print for {waits[gap].sum() / 1000:,.0f} s in {gap.sum():,} places; of "
            f"1000 waits 999 are {longest / 1000:.3g} s or shorter: taken for outages"
        )
    skips = np.zeros(len(waits), dtype=np.bool_) if ids is None else np.diff(ids) != 1
    if skips.sum() > max(_FEW * len(skips), 1):
        said.append(f"{label}: ids are no sequence, and so tell of no missing prints")
    elif ids is not None and skips.any():
        lost = int((np.diff(ids)[skips] - 1).clip(min=0).sum())
        said.append(
            f"{label}: {lost:,} prints are missing by their ids, in {skips.sum():,} places: taken "
            f"for outages, of {waits[skips].sum() / 1000:,.1f} s"
        )
        gap |= skips & (waits > 0)
    return np.column_stack([time_ms[:-1][gap], time_ms[1:][gap]])
