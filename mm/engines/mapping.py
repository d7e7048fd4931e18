"""Any other source by a mapping in YAML: which file, column, unit and word means what.

    symbol: BTCUSDT
    unit: us                     # of all times: s, ms (default), us, ns
    orders:
      file: orders.csv           # beside the mapping, or in the folder that is given
      columns: {recv_ms: ts, order_id: id, action: event, side: side, price: px, qty: size}
      words: {action: {new: PLACE, gone: CANCEL_ACK, changed: AMEND}, side: {B: BUY, S: SELL}}
    fills: {file: fills.csv, columns: {recv_ms: ts, order_id: id, price: px, qty: size}}
    state: {file: book.csv, columns: {recv_ms: ts, bid: b1, ask: a1}}

``columns`` names the tables' columns (left) and the file's (right); a column that is not named
keeps its own name. Words that are not named stay as they are: the reader knows the usual ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mm.core.errors import InputError
from mm.engines.events import Tables, in_ns
from mm.engines.files import read
from mm.logs.columns import REQUIRED, TIMES, wanted

Unit = Literal["s", "ms", "us", "ns"]


class Table(BaseModel):
    """One file of the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    columns: dict[str, str] = Field(default_factory=dict)
    words: dict[str, dict[str, str]] = Field(default_factory=dict)


class Mapping(BaseModel):
    """A whole source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    unit: Unit = "ms"
    orders: Table
    fills: Table
    state: Table


def tables_by(mapping: Path, path: Path, symbol: str = "") -> Tables:
    """The three tables of a folder by a mapping file. Raises InputError, one line."""
    try:
        found = Mapping.model_validate(yaml.safe_load(mapping.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"can't be read ({' '.join(str(error).split())[:120]})", where=mapping
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{place}: {first['msg']}", where=mapping, remedy="see mm/engines"
        ) from None
    kinds = {kind: _table(kind, getattr(found, kind), found.unit, path) for kind in REQUIRED}
    return Tables(symbol or found.symbol, kinds["orders"], kinds["fills"], kinds["state"])


def _table(kind: str, table: Table, unit: Unit, path: Path) -> pd.DataFrame:
    file = (path if path.is_dir() else path.parent) / table.file
    if not file.is_file():
        raise InputError("no such file", where=file, remedy="the mapping names it")
    cells = read(file)
    absent = [name for name in table.columns.values() if name not in cells]
    if absent:
        names = ", ".join(map(str, cells.columns[:15]))
        what = f"no column {absent[0]} (found: {names})"
        raise InputError(what, where=file, remedy="the mapping names it")
    out = cells.rename(columns={theirs: ours for ours, theirs in table.columns.items()})
    if "mid" not in out and {"bid", "ask"} <= set(out):
        out["mid"] = (out["bid"] + out["ask"]) / 2.0
    for name, words in table.words.items():
        if name in out:
            said: Any = out[name].astype("str")
            out[name] = said.map({str(k): v for k, v in words.items()}).fillna(said)
    for name in TIMES:
        if name in out:
            given = out[name].notna()
            ns = in_ns(out.loc[given, name], unit, str(file), name)
            out[name] = (ns // 1_000_000).reindex(out.index).astype("Int64")
    missing = [name for name in REQUIRED[kind] if name not in out]
    if missing:
        raise InputError(
            f"nothing is {missing[0]}", where=file, remedy=f"name its column under {kind}: columns"
        )
    return out[[name for name in (*wanted(kind), "fee") if name in out]]
