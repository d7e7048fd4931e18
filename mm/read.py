"""Read one log file as a table and check every row of it against the input contract.

Reading keeps only the columns that are used. Checking never guesses: a row is good, or it is set
aside with its line number, or (where the whole file has no meaning) an InputError is raised.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from mm.errors import InputError

# Keys in DataFrame.attrs: {line number: what is wrong}, and all names of the file's header.
BAD_LINES, HEADER = "bad_lines", "header"
#: Columns a file must have, and those that are used where they are there.
REQUIRED = {
    "orders": ("recv_ms", "order_id", "action", "side", "price"),
    "fills": ("recv_ms", "order_id"),
    "state": ("recv_ms", "mid"),
}
OPTIONAL = {
    "orders": (
        "status",
        "qty",
        "active_recv_ms",
        "expire_recv_ms",
        "cancel_effective_ms",
        "symbol",
    ),
    "fills": ("side", "price", "qty", "reason", "symbol"),
    "state": ("symbol",),
}
_TEXT = {"order_id", "action", "status", "side", "reason", "symbol"}
_TIMES = ("recv_ms", "active_recv_ms", "expire_recv_ms", "cancel_effective_ms")


@dataclass(frozen=True)
class Checked:
    """A table whose rows are all good; ``bad`` holds (rows, of, what, first line) by cause."""

    table: pd.DataFrame
    bad: tuple[tuple[int, int, str, int], ...]
    warnings: tuple[str, ...]


def read_table(path: Path, kind: str, label: str) -> pd.DataFrame:
    """The used columns of one file as they stand, in file order.

    Raises InputError for a file that is no table of this kind.
    """
    wanted = {*REQUIRED[kind], *OPTIONAL[kind]}
    try:
        if path.name.endswith(".parquet"):
            return _read_parquet(path, wanted, label)
        return _read_csv(path, wanted)
    except FileNotFoundError:
        raise InputError("file vanished", where=label, remedy="run again") from None
    except pd.errors.EmptyDataError:
        raise InputError(
            "file is empty, not even a header", where=label, remedy="run the backtest again"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"not a whole gzip file ({error})", where=label, remedy="write it again"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 text ({error.reason})", where=label, remedy="write it as plain CSV in UTF-8"
        ) from None
    except pd.errors.ParserError as error:
        text = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise InputError(
            f"can't be read as CSV ({text})",
            where=label,
            remedy="look for a stray quote or a cut line",
        ) from None
    except OSError as error:
        raise InputError(
            f"can't be read ({error.strerror or error})",
            where=label,
            remedy="look at the file's rights",
        ) from None


def _read_csv(path: Path, wanted: set[str]) -> pd.DataFrame:
    header = pd.read_csv(path, nrows=0, encoding="utf-8-sig", index_col=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = pd.read_csv(
            path,
            usecols=[name for name in header.columns if name in wanted],
            dtype=cast("Any", dict.fromkeys(_TEXT, "str")),
            encoding="utf-8-sig",
            low_memory=False,
            skip_blank_lines=False,
            on_bad_lines="warn",
            index_col=False,
        )
    # pandas only warns of a line with too many fields; it is a malformed row to us.
    lines: dict[int, str] = {}
    for warning in caught:
        for line, expected, saw in re.findall(
            r"Skipping line (\d+): expected (\d+) fields, saw (\d+)", str(warning.message)
        ):
            lines[int(line)] = f"{saw} fields where the header has {expected}"
    table.attrs[BAD_LINES], table.attrs[HEADER] = lines, list(header.columns)
    return table


def _read_parquet(path: Path, wanted: set[str], label: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        table: pd.DataFrame = pq.read_table(
            path, columns=[n for n in names if n in wanted]
        ).to_pandas()
    except pa.ArrowException as error:
        raise InputError(
            f"not a Parquet file ({str(error).splitlines()[0]})",
            where=label,
            remedy="write it again",
        ) from None
    table.attrs[HEADER] = names
    for name in table.columns:
        if isinstance(table[name].dtype, np.dtype) and table[name].dtype.kind == "M":
            table[name] = table[name].astype("datetime64[ms]").astype("int64")
    return table


def check_table(raw: pd.DataFrame, kind: str, label: str) -> Checked:
    """Check one table row by row.

    Returns the good rows with times as int64 (required) or float64 with NaN (optional) ms,
    prices as float64 and sides and actions in capitals.
    Raises InputError for missing columns, more than one symbol, times that are not ms.
    """
    _check_columns(raw, kind, label)
    # Line numbers count the header and the lines that pandas skipped.
    line = np.arange(len(raw)) + 2
    for skipped in sorted(raw.attrs.get(BAD_LINES, {})):
        line[line >= skipped] += 1
    columns = [n for n in (*REQUIRED[kind], *OPTIONAL[kind]) if n in raw.columns]
    blank = raw[columns].isna().all(axis=1).to_numpy()
    table, line = raw.loc[~blank, columns].reset_index(drop=True), line[~blank]
    findings = _Findings(len(table), line)
    for number, what in raw.attrs.get(BAD_LINES, {}).items():
        findings.skipped(number, what)

    for name in columns:
        if name in _TEXT:
            table[name] = _text(table[name])
        else:
            table[name] = _number(table[name], name, findings)
    _check_unit_of_time(table["recv_ms"].to_numpy(), label)
    findings.add(table["recv_ms"].isna().to_numpy(), "recv_ms", "no time")
    for name in (n for n in _TIMES if n in table.columns):
        values = table[name].to_numpy()
        findings.add(values <= 0, name, "a time that is not positive")
        findings.add(np.isfinite(values) & (values != np.rint(values)), name, "no whole ms")
    if "order_id" in table:
        findings.add((table["order_id"] == "").to_numpy(), "order_id", "empty")
    if kind == "orders":
        _check_orders(table, findings)
    if kind == "state":
        findings.add(~(table["mid"].to_numpy() > 0), "mid", "no positive price")
    if "symbol" in table and table["symbol"].nunique() > 1:
        some = ", ".join(sorted(table["symbol"].unique())[:3])
        raise InputError(
            f"rows of several symbols ({some})",
            where=label,
            column="symbol",
            remedy="write one file per symbol",
        )
    good = table.loc[~findings.bad].reset_index(drop=True)
    good["recv_ms"] = good["recv_ms"].astype("int64")
    return Checked(good, findings.listed(), ())


def _check_orders(table: pd.DataFrame, findings: _Findings) -> None:
    for name in ("action", "side"):
        table[name] = table[name].str.upper()
    if "status" in table:
        table["status"] = table["status"].str.upper()
    findings.add((table["action"] == "").to_numpy(), "action", "empty")
    place = (table["action"] == "PLACE").to_numpy()
    findings.add(place & ~(table["price"].to_numpy() > 0), "price", "no positive price")
    known = table["side"].isin(("BUY", "SELL")).to_numpy()
    findings.add(place & ~known, "side", "neither BUY nor SELL")


class _Findings:
    """Collects what is wrong with which row of one file."""

    def __init__(self, rows: int, line: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.line, self.bad = line, np.zeros(rows, dtype=bool)
        self.causes: dict[str, list[int]] = {}
        self.extra = 0

    def add(self, rows: np.ndarray[Any, Any], column: str, what: str) -> None:
        new = rows & ~self.bad
        if new.any():
            self.causes.setdefault(f"column {column}: {what}", []).extend(self.line[new].tolist())
            self.bad |= new

    def skipped(self, number: int, what: str) -> None:
        self.causes.setdefault(what, []).append(number)
        self.extra += 1

    def listed(self) -> tuple[tuple[int, int, str, int], ...]:
        total = len(self.bad) + self.extra
        return tuple((len(at), total, what, min(at)) for what, at in self.causes.items())


def _check_columns(raw: pd.DataFrame, kind: str, label: str) -> None:
    missing = [name for name in REQUIRED[kind] if name not in raw.columns]
    if not missing:
        return
    there = [str(name) for name in raw.attrs.get(HEADER, raw.columns)]
    if len(there) == 1 and any(mark in there[0] for mark in ";\t|"):
        raise InputError(
            "one column only: not separated by commas",
            where=label,
            row=1,
            remedy="write it with commas",
        )
    raise InputError(
        f"column {', '.join(missing)} missing (found: {', '.join(there[:15]) or 'none'})",
        where=label,
        row=1,
        remedy=f"{kind} need {', '.join(REQUIRED[kind])}",
    )


def _text(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.astype("str").where(column.notna(), "").str.strip()


def _number(column: pd.Series[Any], name: str, findings: _Findings) -> pd.Series[Any]:
    if column.dtype.kind in "iuf":
        values = column.astype("float64")
    else:
        values = pd.to_numeric(column, errors="coerce").astype("float64")
        findings.add((values.isna() & column.notna()).to_numpy(), name, "no number")
    findings.add(np.isinf(values.to_numpy()), name, "infinite")
    return values


def _check_unit_of_time(times: np.ndarray[Any, np.dtype[np.float64]], label: str) -> None:
    finite = times[np.isfinite(times)]
    if not finite.size:
        return
    middle = float(np.median(finite))
    # 1e11 ms is 1973 and 1e14 ms is 5138; small numbers are clocks that start at zero.
    unit = "s" if 5e8 < middle < 1e11 else "µs" if 1e14 < middle < 1e17 else ""
    unit = "ns" if middle >= 1e17 else unit
    if unit:
        raise InputError(
            f"times are in {unit} (for example {middle:.0f})",
            where=label,
            column="recv_ms",
            remedy="write milliseconds since the epoch",
        )
