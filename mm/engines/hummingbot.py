"""hummingbot's SQLite: Order, OrderStatus and TradeFill, with a recording of mid.

| row | event |
|---|---|
| Order (``creation_timestamp``, ``price``, ``amount``) | place and accept |
| OrderStatus OrderCancelled | cancel |
| OrderStatus OrderExpired | expire |
| OrderStatus OrderFailure | reject |
| TradeFill (``timestamp``, ``price``, ``amount``, ``trade_fee_in_quote``) | fill |
| MarketData (``mid_price``), or a file of quotes beside the database | mid |

Orders of an ``order_type`` other than LIMIT and LIMIT_MAKER rest at no price, though they name one.
Times are ms; prices, amounts and MarketData's times that are integers (SqliteDecimal) are
millionths, floats of older databases are not. The side of an order stands in the status
BuyOrderCreated or SellOrderCreated, else in its fills; an order that shows neither is left out, and
said. Times are the bot's: an order counts from its creation to when the bot heard of its end.
Whether a fill was a maker's is not recorded. A pair of several exchanges (``market``) is a symbol
each, ``BTC-USDT@kucoin``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd

from mm.core.errors import InputError, one_line
from mm.engines.events import Recording, in_ns
from mm.engines.files import files_of, headers, quotes_in, read

NAME = "hummingbot"
_ENDINGS = (".sqlite", ".db", ".sqlite3")
_MAGIC = b"SQLite format 3"
_NEEDED = {"Order", "OrderStatus", "TradeFill"}
_STATUS = {"OrderCancelled": "cancel", "OrderExpired": "expire", "OrderFailure": "reject"}
_RESTS = ("LIMIT", "LIMIT_MAKER")
_MILLIONTHS = 1e6
#: Prices of fewer millionths are known to no better than a basis point.
_COARSE = 10_000


def recognises(path: Path) -> bool:
    """Whether a file or folder is of this bot."""
    return any(_tables(file) >= _NEEDED for file in files_of(path, *_ENDINGS))


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database to read. Raises InputError for one that is not whole, or that is locked."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as base:
            yield base
    except sqlite3.Error as error:
        raise InputError(
            f"can't be read ({one_line(error)})", where=file, remedy="copy it again, whole"
        ) from None


def _tables(file: Path) -> set[str]:
    with file.open("rb") as start:
        if start.read(len(_MAGIC)) != _MAGIC:
            return set()
    with _opened(file) as base:
        return {name for (name,) in base.execute("select name from sqlite_master")}


def recordings(path: Path, symbol: str = "") -> list[Recording]:
    """Each market's. Raises InputError without one database, or without a mid."""
    bases = [file for file in files_of(path, *_ENDINGS) if _tables(file) >= _NEEDED]
    if len(bases) != 1:
        raise InputError(
            f"{len(bases)} databases with the tables Order, OrderStatus and TradeFill",
            where=path,
            remedy="give the bot's one .sqlite file",
        )
    file = bases[0]
    names = [*sorted(_NEEDED), *(_tables(file) & {"MarketData"})]
    with _opened(file) as base:
        tables = {name: _rows(base, name) for name in names}
    order, status, fill = (tables[name] for name in ("Order", "OrderStatus", "TradeFill"))
    order = order.rename(columns={"id": "order_id"}).assign(side=_sides(order["id"], status, fill))
    unknown = order["side"].isna()
    order = order[~unknown]
    markets = _markets(order)
    events = pd.concat([*_placed(order, file), _ended(status, file), _filled(fill, file)])
    events = events.assign(symbol=events["order_id"].map(markets))
    events = events[events["symbol"].notna()].sort_values("time_ns", kind="stable")
    notes = ["times are the bot's own, and no fill says whether it was a maker's"]
    if unknown.any():
        notes.append(f"{int(unknown.sum())} orders without a side are left out: no status names it")
    strange = int((~fill["order_id"].isin(tables["Order"]["id"])).sum())
    if strange:
        notes.append(f"{strange} fills of orders that are not in Order are left out")
    if pd.api.types.is_integer_dtype(order["price"]) and order["price"].median() < _COARSE:
        notes.append(f"prices are whole millionths, {order['price'].median():.0f} of them: too few")
    out = []
    for name in sorted(markets.unique()):
        own = order[order["order_id"].map(markets) == name]
        pair, market = own["symbol"].iloc[0], own["market"].iloc[0]
        mids = _mids(tables.get("MarketData"), pair, market, path, file)
        out.append(Recording(name, events[events["symbol"] == name], mids, notes=notes))
    if symbol and len(out) == 1:
        out[0].symbol = symbol
    return out


def _markets(order: pd.DataFrame) -> pd.Series:
    """The symbol of each order by its id: the pair, and where several exchanges have it, which."""
    several = order.groupby("symbol")["market"].transform("nunique") > 1
    name = order["symbol"].where(~several, order["symbol"] + "@" + order["market"])
    return pd.Series(name.to_numpy(), index=order["order_id"])


def _rows(base: sqlite3.Connection, name: str) -> pd.DataFrame:
    cells = base.execute(f'select * from "{name}"')  # noqa: S608  one of four names of ours
    return pd.DataFrame(cells.fetchall(), columns=[column[0] for column in cells.description])


def _sides(ids: pd.Series, status: pd.DataFrame, fill: pd.DataFrame) -> pd.Series:
    side = pd.Series(None, index=ids.index, dtype="object")
    for word in ("Buy", "Sell"):
        said = status.loc[status["status"].str.startswith(f"{word}Order"), "order_id"]
        traded = fill.loc[fill["trade_type"].str.upper() == word.upper(), "order_id"]
        side[ids.isin(said) | ids.isin(traded)] = word.upper()
    return side


def _placed(order: pd.DataFrame, file: Path) -> list[pd.DataFrame]:
    ns = in_ns(order["creation_timestamp"], "ms", str(file), "creation_timestamp")
    price = _decimal(order["price"]).where(order["order_type"].isin(_RESTS))
    base = order[["order_id", "side"]].assign(
        time_ns=ns, price=price, qty=_decimal(order["amount"])
    )
    return [base.assign(kind="place"), base.assign(kind="accept")]


def _ended(status: pd.DataFrame, file: Path) -> pd.DataFrame:
    rows = status[status["status"].isin(list(_STATUS))]
    ns = in_ns(rows["timestamp"], "ms", str(file), "timestamp")
    kind = rows["status"].map(_STATUS)
    return pd.DataFrame({"kind": kind, "order_id": rows["order_id"], "time_ns": ns})


def _filled(fill: pd.DataFrame, file: Path) -> pd.DataFrame:
    fee = fill.get("trade_fee_in_quote")
    return pd.DataFrame(
        {
            "kind": "fill",
            "order_id": fill["order_id"],
            "time_ns": in_ns(fill["timestamp"], "ms", str(file), "timestamp"),
            "side": fill["trade_type"].str.upper(),
            "price": _decimal(fill["price"]),
            "qty": _decimal(fill["amount"]),
            "fee": None if fee is None else _decimal(fee),
        }
    )


def _decimal(cells: pd.Series) -> pd.Series:
    """Amounts: newer databases hold whole millionths, older ones numbers."""
    if pd.api.types.is_integer_dtype(cells):
        return cells.astype("float64") / _MILLIONTHS
    return pd.to_numeric(cells, errors="coerce").astype("float64")


def _mids(
    recorded: pd.DataFrame | None, pair: str, market: str, path: Path, file: Path
) -> pd.DataFrame:
    if recorded is not None:
        rows = recorded[(recorded["trading_pair"] == pair) & (recorded["exchange"] == market)]
        if len(rows):
            # ms in millionths
            ns = in_ns(rows["timestamp"], "ns", str(file), "MarketData.timestamp")
            return pd.DataFrame({"time_ns": ns, "mid": _decimal(rows["mid_price"])})
    parts: list[pd.DataFrame] = []
    for other, _ in headers(path if path.is_dir() else path.parent):
        found = quotes_in(read(other), str(other))
        if found is not None:
            parts.append(found)
    if not parts:
        raise InputError(
            f"{pair}: no mid",
            where=file,
            remedy="record market data, or lay a CSV with recv_ms and mid beside the database",
        )
    return pd.concat(parts).sort_values("time_ns", kind="stable")
