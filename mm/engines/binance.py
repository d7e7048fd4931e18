"""Binance user data streams as JSON lines: spot executionReport, USD-M ORDER_TRADE_UPDATE.

| ``x``, execution type | event, at ``T`` (the matching engine's time), heard at ``E`` |
|---|---|
| NEW | place and accept |
| TRADE (``l``, ``L``, ``n``; ``m``: maker) | fill |
| AMENDMENT (USD-M), REPLACED (spot) with ``p``, ``q`` | amend |
| CANCELED | cancel |
| EXPIRED, TRADE_PREVENTION, EXPIRED_IN_MATCH where ``X`` says that it ended | expire |
| REJECTED | place and reject |

| other lines | meaning |
|---|---|
| bookTicker (``b``, ``a``) with ``E`` | mid |
| listenKeyExpired, eventStreamTerminated | nobody listens until the next order message: no mid |

A line is a message, or wraps one: ``{"stream", "data"}``, ``{"subscriptionId", "event"}``. Times
are ms, or us where the user asked for them (``timeUnit=MICROSECOND``). A trade that came twice, on
two connections, counts once; TRADE_LITE says what ORDER_TRADE_UPDATE says and is not read. Only
orders of the types (``o``) LIMIT and LIMIT_MAKER rest at their price.

From the user's own log, as CSV or Parquet beside the stream: best quotes (``recv_ms`` or
``time_ns``, with ``mid`` or ``bid`` and ``ask``, and ``symbol`` where there are several), and when
orders were sent (``placed_ms`` with ``order_id`` or ``client_order_id``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mm.core.errors import InputError
from mm.engines.events import Recording, in_ns
from mm.engines.files import files_of, headers, quotes_in, read, with_columns

NAME = "binance"
_ENDINGS = (".jsonl", ".ndjson", ".json", ".log")
_KINDS = {
    "NEW": ("place", "accept"),
    "TRADE": ("fill",),
    "AMENDMENT": ("amend",),
    "REPLACED": ("amend",),
    "CANCELED": ("cancel",),
    "EXPIRED": ("expire",),
    "EXPIRED_IN_MATCH": ("expire",),
    "TRADE_PREVENTION": ("expire",),
    "REJECTED": ("place", "reject"),
}
_RESTS, _LIVES = ("LIMIT", "LIMIT_MAKER"), ("NEW", "PARTIALLY_FILLED")
_ORDERS = ("executionReport", "ORDER_TRADE_UPDATE")
_SILENT = ("listenKeyExpired", "eventStreamTerminated")
Message = dict[str, Any]
#: Times in us are larger from 1973 on, those in ms not before 5138.
_FIRST_US = 1e14


def recognises(path: Path) -> bool:
    """Whether a file or folder is of this stream, by the first lines."""
    for file in files_of(path, *_ENDINGS):
        with file.open(encoding="utf-8", errors="replace") as lines:
            start = "".join(line for _, line in zip(range(50), lines, strict=False))
        if any(f'"{name}"' in start for name in _ORDERS):
            return True
    return False


def recordings(path: Path, symbol: str = "") -> list[Recording]:
    """Each symbol's. Raises InputError with the row for a line that is no whole message."""
    rows: list[Message] = []
    quotes: list[Message] = []
    silent: list[int] = []
    for file in files_of(path, *_ENDINGS):
        for row, message in _messages(file):
            name = message.get("e")
            if name in _ORDERS:
                rows += _order(message, file, row)
            elif name in _SILENT:
                silent.append(_ns(message.get("E"), file, row))
            elif name == "bookTicker" or {"u", "s", "b", "a", "E"} <= set(message):
                quotes.append(_quote(message, file, row))
    if not rows:
        raise InputError("no order message", where=path, remedy="record the user data stream")
    events = pd.DataFrame(rows)
    again = events["trade"].notna() & events.duplicated(["symbol", "order_id", "trade"])
    events = events[~again].sort_values("time_ns", kind="stable")
    tables = [(file, columns) for file, columns in headers(path) if path.is_dir()]
    events = _sent(events, [file for file, columns in tables if "placed_ms" in columns])
    mids = _mids(quotes, [file for file, c in tables if "placed_ms" not in c])
    blind = _blind(silent, events)
    out = []
    for name in sorted(events["symbol"].unique()):
        own = mids[mids["symbol"].isin(["", name])]
        out.append(Recording(name, events[events["symbol"] == name], own, blind))
    if symbol and len(out) == 1:
        out[0].symbol = symbol
    return out


def _messages(file: Path) -> Iterator[tuple[int, Message]]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for row, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except ValueError as error:
                half = "a half-written line" if not line.endswith("\n") else "no JSON"
                raise InputError(
                    f"{half} ({error})",
                    where=file,
                    row=row,
                    remedy="take that line away; what it told is lost",
                ) from None
            if isinstance(message, dict):
                inner = message.get("data", message.get("event"))
                yield row, inner if isinstance(inner, dict) else message


def _ns(time: Any, file: Path, row: int) -> int:
    """Whole ns since the epoch of a time in ms or us, which differ by 1000."""
    if not isinstance(time, int) or not 1e11 <= time < 1e17:
        raise InputError(
            f"no time in ms or us ({time})",
            where=file,
            row=row,
            remedy="write messages as they come; take files in other units away",
        )
    return time * (1_000_000 if time < _FIRST_US else 1_000)


def _quote(message: Message, file: Path, row: int) -> Message:
    try:
        mid = (float(message["b"]) + float(message["a"])) / 2.0
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a quote without a bid or an ask ({type(error).__name__}: {error})",
            where=file,
            row=row,
            remedy="write messages as they come",
        ) from None
    return {"time_ns": _ns(message.get("E"), file, row), "mid": mid, "symbol": message.get("s", "")}


def _order(message: Message, file: Path, row: int) -> list[Message]:
    """The events of one message."""
    order = message.get("o") if message["e"] == "ORDER_TRADE_UPDATE" else message
    try:
        assert isinstance(order, dict)
        kinds = _KINDS.get(order["x"], ())
        if kinds == ("expire",) and order.get("X") in _LIVES:
            kinds = ()  # a part of it was prevented from trading with its owner
        fill = kinds == ("fill",)
        price = float(order["L" if fill else "p"])
        base: Message = {
            "symbol": order["s"],
            "order_id": str(order["i"]),
            "side": order["S"],
            "time_ns": _ns(order.get("T", message.get("T")), file, row),
            "sent_ns": _ns(message["E"], file, row),
            "client_order_id": order.get("c"),
            "trade": order.get("t") if fill else None,
            "price": price if price > 0 and order["o"] in _RESTS else None,
            "qty": float(order["l" if fill else "q"]),
        }
        if fill:
            base |= {"price": price, "fee": float(order.get("n") or 0.0)}
            base["liquidity"] = "MAKER" if order["m"] else "TAKER"
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"an order message without what it needs ({type(error).__name__}: {error})",
            where=file,
            row=row,
            remedy="write messages as they come",
        ) from None
    return [{**base, "kind": kind} for kind in kinds]


def _sent(events: pd.DataFrame, files: list[Path]) -> pd.DataFrame:
    """The events with the times at which the user sent the orders."""
    for file in files:
        table = read(file)
        key = "client_order_id" if "client_order_id" in table else "order_id"
        table = with_columns(table, file, key)
        ns = in_ns(table["placed_ms"], "ms", str(file), "placed_ms")
        of = dict(zip(table[key].astype("str"), ns.tolist(), strict=True))
        rows = zip(events["kind"], events[key], events["sent_ns"], strict=True)
        sent = [of.get(order, heard) if kind == "place" else heard for kind, order, heard in rows]
        events = events.assign(sent_ns=sent)
    place = events["kind"] == "place"
    # A placement is heard after it took effect, and was certainly sent before.
    known = events["sent_ns"].where(~place, events[["sent_ns", "time_ns"]].min(axis=1))
    return events.assign(sent_ns=known)


def _mids(quotes: list[Message], files: list[Path]) -> pd.DataFrame:
    parts = [pd.DataFrame(quotes, columns=["time_ns", "mid", "symbol"])]
    for file in files:
        table = read(file)
        found = quotes_in(table, str(file))
        if found is not None:
            parts.append(found.assign(symbol=table.get("symbol", "")))
    mids = pd.concat([part for part in parts if len(part)] or parts)
    return mids.sort_values("time_ns", kind="stable")


def _blind(silent: list[int], events: pd.DataFrame) -> list[tuple[int, int]]:
    """From each end of the stream to the next order message that was heard."""
    heard = sorted(events["sent_ns"].tolist())
    return [(end, next((t for t in heard if t > end), 2**63 - 1)) for end in silent]
