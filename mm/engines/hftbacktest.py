"""hftbacktest (2.4): the npz that the logger of ``docs/examples/hftbacktest_logger.py`` writes.

The engine writes no order log. The logger polls each order after every feed or order response and
adds a row where its status, request, leaves or exchange time changed.

| row of ``orders`` | event |
|---|---|
| an order's first row, ``local_timestamp`` | place |
| first status 1 NEW (or 5, or 3) | accept, at ``exch_timestamp`` |
| ``price_tick`` or ``qty`` other than in the last row without a request (``req`` 0) | amend |
| 3 FILLED, 5 PARTIALLY_FILLED, where ``leaves_qty`` fell | fill of what it fell by |
| 4 CANCELED | cancel, at ``exch_timestamp`` |
| 2 EXPIRED, 6 REJECTED before any accept (GTX that would cross) | reject |
| 2 EXPIRED after that | expire |
| ``quotes``: (best_bid + best_ask) / 2 at ``now_ns``, as the strategy saw them | mid |

Prices are in ticks. An id that is used again after its order ended is another order (``7#2``).
``modify`` shows the new price and size at once, beside ``req`` 7, before the exchange has them; its
size is what is left of the order from then on.
A market order has a price of no meaning. ``num_trades`` of the engine does not count partial fills.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Floats
from mm.core.errors import InputError, one_line
from mm.engines.events import Recording, in_ns
from mm.engines.files import files_of, quotes_in

NAME = "hftbacktest"
Arrays = dict[str, npt.NDArray[Any]]
_NEW, _EXPIRED, _FILLED, _CANCELED, _PARTIAL, _REJECTED = 1, 2, 3, 4, 5, 6
_RESTS, _ENDED = (_NEW, _PARTIAL), (_EXPIRED, _FILLED, _CANCELED, _REJECTED)
_NEEDED = ("order_id", "side", "price_tick", "qty", "leaves_qty", "status", "req")
_TIMES = ("exch_timestamp", "local_timestamp", "now_ns")
#: A price is taken for one in so many ticks if the two agree to this: quotes are near the market.
_NEAR = 0.02


def recognises(path: Path) -> bool:
    """Whether a file or folder is of this engine."""
    return any("orders" in _arrays(file) for file in files_of(path, ".npz"))


def recordings(path: Path, symbol: str = "") -> list[Recording]:
    """One a log; its file's name is the symbol where none is given. Raises InputError."""
    files = {file: _arrays(file) for file in files_of(path, ".npz")}
    logs = {file: arrays for file, arrays in files.items() if {"orders", "quotes"} <= set(arrays)}
    if not logs:
        raise InputError(
            "no npz with the arrays orders and quotes",
            where=path,
            remedy="log with docs/examples/hftbacktest_logger.py: the Recorder has no orders",
        )
    reports = [a for arrays in files.values() for a in arrays.values() if _is_report(a)]
    report = reports[0] if len(reports) == len(logs) == 1 else None
    out = []
    for file, arrays in logs.items():
        name = symbol if len(logs) == 1 and symbol else file.stem.removeprefix("orders_")
        out.append(_recording(name, arrays, str(file), report))
    return out


def _arrays(file: Path) -> Arrays:
    try:
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, TypeError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(
            f"no npz ({one_line(error)})", where=file, remedy="write it again"
        ) from None


def _is_report(array: npt.NDArray[Any]) -> bool:
    """Whether an array is what the engine's Recorder writes."""
    return {"num_trades", "timestamp"} <= set(array.dtype.names or ()) and len(array) > 0


def _recording(
    symbol: str, arrays: Arrays, where: str, report: npt.NDArray[Any] | None
) -> Recording:
    orders, best = pd.DataFrame(arrays["orders"]), pd.DataFrame(arrays["quotes"])
    missing = [name for name in (*_NEEDED, *_TIMES) if name not in orders]
    quotes = quotes_in(best, where)
    if missing or quotes is None or orders.empty:
        what = f"orders have no {missing[0]}" if missing else "no orders, or quotes without prices"
        raise InputError(what, where=where, remedy="log with docs/examples/hftbacktest_logger.py")
    tick = float(arrays["tick_size"]) if "tick_size" in arrays else _tick(orders, best, where)
    rows = orders.assign(
        order_id=_lives(orders),
        time_ns=orders["exch_timestamp"],
        sent_ns=in_ns(orders["now_ns"], "ns", where, "now_ns"),
        side=np.where(orders["side"] > 0, "BUY", "SELL"),
        price=_prices(orders["price_tick"], tick),
    )
    events = _events(rows, tick, where)
    notes = []
    if report is not None:
        traded, until = int(report["num_trades"][-1]), int(report["timestamp"][-1])
        fills = events[(events["kind"] == "fill") & (events["sent_ns"] <= until)]
        # With partial fills the engine counts those that complete an order.
        if traded not in (len(fills), int((fills["status"] == _FILLED).sum())):
            notes.append(f"the Recorder counts {traded} trades, the log has {len(fills)} by then")
    accepted = events[events["kind"] == "accept"]
    late = accepted["status"].isin((_FILLED, _PARTIAL)) & accepted.get("maker", True)
    if late.any():
        notes.append(
            f"{int(late.sum())} orders were filled before they were seen to rest, so A comes out "
            "too high: log at every wait_next_feed(True, …)"
        )
    return Recording(symbol, events, quotes, notes=notes)


def _events(rows: pd.DataFrame, tick: float, where: str) -> pd.DataFrame:
    of = rows.groupby("order_id", sort=False)
    first, status = of.cumcount() == 0, rows["status"]
    place = rows[first].assign(kind="place")
    sent = in_ns(place["local_timestamp"], "ns", where, "local_timestamp")
    place = place.assign(sent_ns=sent, time_ns=sent)
    accept = rows[status.isin([*_RESTS, _FILLED])].drop_duplicates("order_id")
    accept = accept.assign(kind="accept")
    rested = rows["order_id"].isin(accept["order_id"])
    held = rows[
        status.isin([*_RESTS, _FILLED]) & (rows["req"] == 0) | rows.index.isin(accept.index)
    ]
    before = held.groupby("order_id", sort=False)[["price", "qty", "leaves_qty"]].shift()
    changed = (held[["price", "qty"]] != before[["price", "qty"]]).any(axis=1)
    changed |= held["leaves_qty"] > before["leaves_qty"]
    amend = held[changed & before["qty"].notna()]
    fell = of["leaves_qty"].shift().fillna(rows["qty"]) - rows["leaves_qty"]
    # A new size changes what is left of an order, and is no fill.
    filled = (fell > 0) & (
        (status == _FILLED) | (status == _PARTIAL) & ~rows.index.isin(amend.index)
    )
    done = fell.where(filled, 0.0).groupby(rows["order_id"]).cumsum()
    amend = amend.assign(qty=amend["leaves_qty"] + done[amend.index])
    fill = rows[filled].assign(kind="fill", qty=fell[filled])
    if "exec_price_tick" in rows:
        fill["price"] = _prices(fill["exec_price_tick"], tick)
    if "maker" in rows:
        fill["liquidity"] = np.where(fill["maker"], "MAKER", "TAKER")
    ended = status.isin(_ENDED) & ~(of["status"].shift() == status)
    refused = ended & status.isin((_EXPIRED, _REJECTED)) & ~rested
    parts = [
        place,
        accept,
        amend.assign(kind="amend"),
        rows[refused].assign(
            kind="reject", reason=np.where(status[refused] == _EXPIRED, "GTX", "")
        ),
        rows[ended & ~refused & (status == _EXPIRED)].assign(kind="expire"),
        rows[ended & (status == _CANCELED)].assign(kind="cancel"),
        fill,
    ]
    events = pd.concat(parts)
    events["time_ns"] = in_ns(events["time_ns"], "ns", where, "exch_timestamp")
    return events.sort_values(["time_ns"], kind="stable")


def _lives(orders: pd.DataFrame) -> pd.Series:
    """Order ids as text, numbered where one is used again after its order ended."""
    of = orders.groupby("order_id", sort=False)
    ended = of["status"].shift().isin(_ENDED)
    other = orders["exch_timestamp"] != of["exch_timestamp"].shift()
    again = ended & (other | ~orders["status"].isin(_ENDED))
    nth = again.groupby(orders["order_id"]).cumsum()
    names = orders["order_id"].astype("str")
    return names.where(nth == 0, names + "#" + (nth + 1).astype("str"))


def _prices(ticks: pd.Series, tick: float) -> Floats:
    """Whole ticks as prices that read as they are written."""
    per_one = round(1.0 / tick)
    if per_one > 1 and abs(per_one * tick - 1.0) < 1e-9:
        return np.asarray(ticks.to_numpy(dtype=np.float64) / per_one)
    return np.asarray(ticks.to_numpy(dtype=np.float64) * tick)


def _tick(orders: pd.DataFrame, best: pd.DataFrame, where: str) -> float:
    """Tick size where the log does not hold it: the number of the fewest digits by which prices in
    ticks are near the best quotes, and on which all quotes lie."""
    ratio = float(best["best_bid"].median() / orders["price_tick"].median())
    for digits in range(1, 5):
        tick = float(f"{ratio:.{digits - 1}e}")
        ticks = best["best_bid"] / tick
        if abs(tick / ratio - 1.0) < _NEAR and (np.abs(ticks - ticks.round()) < 1e-3).all():
            return tick
    raise InputError("no tick_size", where=where, remedy="add the array tick_size to the npz")
