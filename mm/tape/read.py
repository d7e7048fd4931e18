"""Read a tape: prints and best quotes as venues and recorders write them.

| column | known by |
|---|---|
| time of a print | event_time_*, trade_time*, transact_time, time, timestamp, T |
| aggressor | is_buyer_maker, m (true: sold); side, aggressor (buy, sell) |
| best quotes | bid, best_bid_price, bid_price, b; ask, best_ask_price, ask_price, a |

Files without a header are Binance's archives: trades (id, price, qty, quote_qty, time,
is_buyer_maker), aggTrades (id, price, qty, first, last, time, is_buyer_maker). Units of time are
told by size; event times are taken before those of a recorder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from mm.core.arrays import Floats, Ints, Mask
from mm.core.errors import InputError
from mm.logs.tick import price_grid
from mm.tape.tape import Tape

_TIME = (
    *("event_time_ns", "event_time_us", "event_time_ms", "event_time", "transaction_time"),
    *("trade_time_ms", "trade_time", "transact_time", "time", "timestamp", "t", "local_timestamp"),
)
_SOLD = ("is_buyer_maker", "isbuyermaker", "m")
_SIDE = ("side", "aggressor", "aggressor_side", "taker_side")
_PRICE = ("price", "p", "px")
_ID = ("trade_id", "id", "agg_trade_id", "a")
_BID = ("bid", "best_bid_price", "bid_price", "b", "best_bid")
_ASK = ("ask", "best_ask_price", "ask_price", "a", "best_ask")
_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
_AGG = (
    *("id", "price", "qty", "first_trade_id", "last_trade_id", "time", "is_buyer_maker"),
    "is_best_match",
)
_SELLS, _BUYS = ("sell", "s", "ask", "-1"), ("buy", "b", "bid", "1")
#: A median time up to each is in s, ms, µs, else ns; ``mm.logs.rules`` says why.
_UNITS = ((1e11, "s", 1e-3), (1e14, "ms", 1.0), (1e17, "µs", 1e3), (np.inf, "ns", 1e6))
#: Rows out of order, crossed or doubled that a recorder may have; more is another file.
_FEW = 0.01
#: In a tape of one clock nearly all aggressors that sold printed below the mid.
_FITS = 0.7
_FEWEST = 20
_REWRITE = "take the file as the venue or the recorder wrote it"


def read_tape(trades: Path, quotes: Path, tick: float | None = None) -> Tape:
    """The tape in two files, .csv, .csv.gz, .zip or .parquet.

    ``tick``: grid of the prices; None sees it in the prints. Raises InputError, one line, for
    columns that are not there, times that run backwards, missing or flipped aggressors, crossed
    quotes and rows that stand twice."""
    said: list[str] = []
    prints, book = _table(trades), _table(quotes)
    trade_ms, price, sold, ids = _prints(prints, trades.name, said)
    quote_ms, bid, ask = _quotes(book, quotes.name, said)
    if quote_ms[0] > trade_ms[-1] or trade_ms[0] > quote_ms[-1]:
        raise InputError(
            "has no time in common with the prints",
            where=quotes.name,
            remedy="take both files of one time, in event times",
        )
    _check_sides(trade_ms, price, sold, quote_ms, (bid + ask) / 2.0, trades.name)
    grid = tick or price_grid(price)
    if grid is None:
        raise InputError(
            "the prices show no grid", where=trades.name, column="price", remedy=_REWRITE
        )
    jumps = np.flatnonzero(np.diff(ids) > 1) if ids is not None else np.zeros(0, dtype=np.int64)
    if len(jumps):
        said.append(f"{trades.name}: prints are missing at {len(jumps):,} places; outages")
    late = int(quote_ms[0] - trade_ms[0])
    if late > 0:
        said.append(f"{quotes.name}: begins {late:,} ms behind the prints; quoting begins there")
    return Tape(
        trade_ms,
        price,
        sold,
        quote_ms,
        bid,
        ask,
        float(grid),
        gap_start_ms=trade_ms[jumps],
        gap_end_ms=trade_ms[jumps + 1],
        said=tuple(said),
    )


def _table(path: Path) -> pd.DataFrame:
    """A file's cells, names in small letters; without a header, those of Binance's archives."""
    try:
        if path.name.endswith(".parquet"):
            parquet: pd.DataFrame = pq.read_table(path).to_pandas()
            return parquet.rename(columns=str.lower)
        stream: Any = path
        if path.name.endswith(".zip"):
            with zipfile.ZipFile(path) as packed:
                stream = io.BytesIO(packed.read(packed.namelist()[0]))
        first = pc.open_csv(stream).schema.names
        if hasattr(stream, "seek"):
            stream.seek(0)
        names = _unnamed(first, path) if any(name[:1].isdigit() for name in first) else None
        table = pc.read_csv(stream, read_options=pc.ReadOptions(column_names=names))
    except (OSError, pa.ArrowException, zipfile.BadZipFile, IndexError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"can't be read ({text})", where=path.name, remedy=_REWRITE) from None
    if not table.num_rows:
        raise InputError("holds no row", where=path.name, remedy=_REWRITE)
    frame: pd.DataFrame = table.to_pandas()
    return frame.rename(columns=str.lower)


def _unnamed(first: Sequence[str], path: Path) -> list[str]:
    truth = [cell.lower() in ("true", "false") for cell in first]
    for names in (_TRADES, _AGG):
        at = names.index("is_buyer_maker")
        if len(first) in (at + 1, at + 2) and truth[at] and not any(truth[:at]):
            return list(names[: len(first)])
    raise InputError(
        f"has no header, and {len(first)} columns that are no archive's of prints",
        where=path.name,
        row=1,
        remedy="put the names of the columns on top",
    )


def _column(table: pd.DataFrame, names: Sequence[str], what: str, label: str) -> pd.Series:
    name = next((name for name in names if name in table.columns), None)
    if name is None:
        found = ", ".join(map(str, table.columns[:12]))[:160]
        raise InputError(
            f"no column of {what} (found: {found})",
            where=label,
            row=1,
            remedy=f"name it {names[0]}",
        )
    return table[name]


def _time(table: pd.DataFrame, label: str, said: list[str]) -> Ints:
    column = _column(table, _TIME, "times", label)
    if column.dtype.kind == "M":
        return np.asarray(column.to_numpy("datetime64[ms]").astype(np.int64))
    values = _numbers(column, label)
    unit, scale = next((u, s) for limit, u, s in _UNITS if float(np.median(values)) < limit)
    if unit != "ms":
        said.append(f"{label}, column {column.name}: times are in {unit}")
    if unit == "s":
        return np.asarray(np.floor(values * 1e3 + 1e-6).astype(np.int64))
    return np.asarray(values.astype(np.int64) // int(scale))


def _numbers(column: pd.Series, label: str) -> Any:
    values = pd.to_numeric(column, errors="coerce").to_numpy()
    bad = np.flatnonzero(~np.isfinite(values.astype(np.float64)))
    if len(bad):
        raise InputError(
            f"no number ({str(column.iloc[bad[0]])[:40]!r})",
            where=label,
            row=int(bad[0]) + 2,
            column=str(column.name),
            remedy=_REWRITE,
        )
    return values


def _in_order(time: Ints, label: str, said: list[str]) -> Ints | slice:
    """The rows by time; a few that are late are sorted."""
    back = int(np.count_nonzero(np.diff(time) < 0))
    if not back:
        return slice(None)
    if back > _FEW * len(time):
        way = "time runs backwards" if back > 0.9 * (len(time) - 1) else "rows are out of order"
        raise InputError(
            f"{way} ({back:,} of {len(time):,} rows are before the one above)",
            where=label,
            remedy="write the rows in the order of their time",
        )
    said.append(f"{label}: {back:,} rows were late; sorted by time")
    return np.argsort(time, kind="stable")


def _prints(
    table: pd.DataFrame, label: str, said: list[str]
) -> tuple[Ints, Floats, Mask, Ints | None]:
    name = next((n for n in _ID if n in table.columns), None)
    ids = None if name is None or table[name].dtype.kind not in "iu" else table[name].to_numpy()
    twice = table.duplicated(name) if ids is not None else table.duplicated()
    if twice.any():
        n = int(twice.sum())
        if n > _FEW * len(table):
            raise InputError(
                f"{n:,} of {len(table):,} prints stand twice",
                where=label,
                row=int(np.flatnonzero(twice)[0]) + 2,
                remedy="was the file joined with itself? write each print once",
            )
        if ids is not None:  # without ids two alike prints of one ms may both be true
            said.append(f"{label}: {n:,} prints stand twice; each counts once")
            table = table[~twice.to_numpy()]
            ids = table[name].to_numpy()
    time = _time(table, label, said)
    price = np.asarray(_numbers(_column(table, _PRICE, "prices", label), label), dtype=np.float64)
    sold = _sold(table, label)
    order = _in_order(time, label, said)
    return time[order], price[order], sold[order], None if ids is None else ids[order]


def _sold(table: pd.DataFrame, label: str) -> Mask:
    """Whether each print's aggressor sold."""
    name = next((n for n in _SOLD if n in table.columns), None)
    if name is not None:
        words = table[name].astype("str").str.lower()
        sold, bought = words.isin(["1", "true"]), words.isin(["0", "false"])
    else:
        column = _column(table, _SIDE, "aggressors", label)
        words = column.astype("str").str.strip().str.lower()
        sold, bought = words.isin(_SELLS), words.isin(_BUYS)
        name = str(column.name)
    unknown = np.flatnonzero(~(sold | bought).to_numpy())
    if len(unknown):
        raise InputError(
            f"no aggressor ({str(words.iloc[unknown[0]])[:40]!r}), in {len(unknown):,} rows",
            where=label,
            row=int(unknown[0]) + 2,
            column=name,
            remedy="write buy or sell, or is_buyer_maker; without it no order's fill is known",
        )
    if len(table) > _FEWEST and (sold.all() or bought.all()):
        raise InputError(
            f"all {len(table):,} prints have one aggressor ({words.iloc[0]})",
            where=label,
            column=name,
            remedy="the column was not written as it should be: write who took",
        )
    return np.asarray(sold.to_numpy(dtype=np.bool_))


def _quotes(table: pd.DataFrame, label: str, said: list[str]) -> tuple[Ints, Floats, Floats]:
    time = _time(table, label, said)
    if "mid" in table.columns and not set(_BID) & set(table.columns):
        said.append(f"{label}: mids only; whether a quote would cross is not known")
        bid = ask = np.asarray(_numbers(table["mid"], label), dtype=np.float64)
    else:
        bid, ask = (
            np.asarray(_numbers(_column(table, names, what, label), label), dtype=np.float64)
            for names, what in ((_BID, "bids"), (_ASK, "asks"))
        )
    crossed = bid > ask
    if crossed.any():
        n, first = int(crossed.sum()), int(np.flatnonzero(crossed)[0])
        if n > _FEW * len(time):
            raise InputError(
                f"the bid is above the ask in {n:,} of {len(time):,} rows ({bid[first]:g} > "
                f"{ask[first]:g})",
                where=label,
                row=first + 2,
                remedy="are the columns swapped, or two books mixed?",
            )
        said.append(f"{label}, row {first + 2}: {n:,} crossed quotes are left out")
        time, bid, ask = time[~crossed], bid[~crossed], ask[~crossed]
    order = _in_order(time, label, said)
    time, bid, ask = time[order], bid[order], ask[order]
    # Of several in one ms the last one stands.
    last = np.append(time[1:] != time[:-1], True)
    return time[last], np.round(bid[last], 10), np.round(ask[last], 10)


def _check_sides(
    trade_ms: Ints, price: Floats, sold: Mask, quote_ms: Ints, mid: Floats, label: str
) -> None:
    """Raise InputError where aggressors do not print on their side of the mid before them."""
    row = np.searchsorted(quote_ms, trade_ms, side="left") - 1
    off = price - mid[np.maximum(row, 0)]
    told = (row >= 0) & (off != 0)
    if np.count_nonzero(told) < _FEWEST:
        return
    fits = float(((off < 0) == sold)[told].mean())
    if fits >= _FITS:
        return
    flipped = fits <= 1.0 - _FITS
    raise InputError(
        f"only {fits:.0%} of the aggressors that sold printed below the mid, or bought above",
        where=label,
        remedy="buy and sell are swapped: is_buyer_maker true means that the aggressor sold"
        if flipped
        else "prints and quotes are of different clocks or markets: take both in event times",
    )
