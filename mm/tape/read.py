"""Read a tape: prints with best quotes or a mid path, as venues and recorders write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm.core.arrays import Mask
from mm.core.concurrency import give_back
from mm.core.errors import InputError
from mm.logs.tick import price_grid
from mm.tape.check import check_doubled, check_together, crossed, in_order, missing_prints, repeated
from mm.tape.columns import Clock, common_clock
from mm.tape.feed import read_feed
from mm.tape.files import Columns, peek, read_columns
from mm.tape.tape import Tape

_CLOCKS: dict[Clock, str] = {
    "exchange": "times of the exchange",
    "event": "times at which the exchange told of it",
    "received": "times of arrival",
}


def read_tape(
    trades: Path, quotes: Path | None = None, tick: float | None = None, max_bad: float = 0.01
) -> Tape:
    """The tape in files of prints and of best quotes or mids; or in hftbacktest's feed alone.

    ``tick``: the grid that orders lie on; None takes that of the prints. ``max_bad``: the share of
    malformed rows from which on a file is refused. Raises InputError, one line, for what can't be
    read or can't be true."""
    said: list[str] = []
    if quotes is None:
        prints, book = read_feed(trades)
        quotes = trades
    else:
        prints, book = _columns(trades, quotes, said)
        give_back()
    prints, trade_ms, price, sold = _prints(prints, trades.name, max_bad, said)
    book = _usable(book, quotes.name, max_bad, said)
    is_mid = "mid" in book.numbers
    bid, ask = (book.numbers["mid" if is_mid else side] for side in ("bid", "ask"))
    if (wrong := crossed(bid, ask, quotes.name, said)) is not None:
        book, bid, ask = _rows(book, ~wrong), bid[~wrong], ask[~wrong]
    quote_ms = book.time_ms
    if (order := in_order(quote_ms, quotes.name, said)) is not None:
        quote_ms, bid, ask = quote_ms[order], bid[order], ask[order]
    # Of several in one ms the last one stands.
    last = np.append(quote_ms[1:] != quote_ms[:-1], True)
    if not last.all():
        quote_ms, bid, ask = quote_ms[last], bid[last], ask[last]
    grid = tick or price_grid(price)
    if grid is None:
        raise InputError(
            "the prices show no grid",
            where=trades.name,
            column="price",
            remedy="give EXCHANGE_TICK",
        )
    gaps = missing_prints(trade_ms, prints.ids, trades.name, said)
    tape = Tape(
        trade_ms,
        price,
        sold,
        quote_ms,
        np.round(bid, 10),
        np.round(ask, 10),
        float(grid),
        is_mid=is_mid,
        gap_start_ms=gaps[:, 0],
        gap_end_ms=gaps[:, 1],
        said=tuple(said),
    )
    label = " and ".join(dict.fromkeys((trades.name, quotes.name)))
    said += filter(None, [check_together(trade_ms, price, sold, quote_ms, tape.mid, label)])
    late = int(quote_ms[0] - trade_ms[0])
    if late > 0:
        said.append(f"{quotes.name}: begins {late:,} ms behind the prints; quoting begins there")
    return Tape(**{**vars(tape), "said": tuple(said)})


def _columns(trades: Path, quotes: Path, said: list[str]) -> tuple[Columns, Columns]:
    """The columns of both files by one clock, if they share one."""
    layouts = peek(trades, "prints"), peek(quotes, "quotes")
    shared = common_clock(*layouts)
    if shared is None:
        said.append(f"{trades.name} and {quotes.name} share no clock")
    found = []
    for path, layout in zip((trades, quotes), layouts, strict=True):
        clock = next(iter(layout.clocks)) if shared is None else shared
        found.append(read_columns(path, layout, clock))
        name, unit = layout.clocks[clock], found[-1].unit
        said.append(f"{path.name}: {_CLOCKS[clock]}, column {name}, in {unit}")
    return found[0], found[1]


def _prints(
    columns: Columns, label: str, max_bad: float, said: list[str]
) -> tuple[Columns, npt.NDArray[np.int64], npt.NDArray[np.float64], Mask]:
    """Prints in order, each once: with their times, prices, and whether the aggressor sold."""
    columns = _usable(columns, label, max_bad, said)
    again = None if columns.ids is None else repeated(columns.ids, label)
    if again is not None:
        said.append(f"{label}: {int(again.sum()):,} prints stand twice; each counts once")
        columns = _rows(columns, ~again)
    if (order := in_order(columns.time_ms, label, said)) is not None:
        columns = _rows(columns, order)
    if columns.ids is None:
        check_doubled(columns.time_ms, columns.numbers["price"], label)
    assert columns.aggressor is not None
    return columns, columns.time_ms, columns.numbers["price"], columns.aggressor < 0


def _usable(columns: Columns, label: str, max_bad: float, said: list[str]) -> Columns:
    """The rows that say what they must; the others are told of, or refused where they are many."""
    bad = columns.unusable()
    n, of = int(bad.sum()) + len(columns.uneven), len(bad) + len(columns.uneven)
    if not n:
        return columns
    row = int(np.flatnonzero(bad)[0]) if bad.any() else None
    first = columns.uneven[0] if row is None else _fault(columns, row)
    if n > max_bad * of:
        raise InputError(
            f"{n:,} of {of:,} rows can't be used; the first: {first}",
            where=label,
            row=None if row is None else row + 2,
            remedy="take the file as the venue or the recorder wrote it",
        )
    said.append(f"{label}: {n:,} rows are left out (the first: {first})")
    return _rows(columns, ~bad)


def _fault(columns: Columns, row: int) -> str:
    cells = {name: float(values[row]) for name, values in columns.numbers.items()}
    wrong = [
        f"{name} is no number" if np.isnan(cell) else f"{name} {cell:g}"
        for name, cell in cells.items()
        if not 0 < cell < np.inf
    ]
    if columns.aggressor is not None and columns.aggressor[row] == 0:
        wrong.append("no aggressor, buy or sell")
    return ", ".join(wrong) or "no time"


def _rows(columns: Columns, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Columns:
    return Columns(
        columns.time_ms[rows],
        {name: values[rows] for name, values in columns.numbers.items()},
        None if columns.aggressor is None else columns.aggressor[rows],
        None if columns.ids is None else columns.ids[rows],
        columns.unit,
    )
