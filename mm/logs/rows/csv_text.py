"""CSV: find the lines that are no rows, then leave the rest to pandas' parser.

pandas itself pads short lines with nothing and cuts long ones without a word, which turns
``60,000.5`` into 60. So the fields of every line are counted first.
"""

from __future__ import annotations

import csv
import io
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from mm.core.arrays import Ints
from mm.core.errors import InputError
from mm.logs.columns import EVIDENCE, TEXT, RawTable, check_header, wanted

_BOM = b"\xef\xbb\xbf"
_NEWLINE, _COMMA = 10, 44
#: What counts as an empty cell in a column of numbers; in text every word stands for itself.
_NOTHING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "NaT", "<NA>"]
#: Cells of a broken line that are kept, to see whose row it was.
_KEPT = 40

BadLines = dict[int, tuple[str, tuple[str, ...]]]


def parse_csv(content: bytes, kind: str, label: str, digest: str = "") -> RawTable:
    """The used columns of a CSV text.

    Raises InputError for text that is not UTF-8, no table, or not of this kind.
    """
    content = content.removeprefix(_BOM)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(
            "not UTF-8 text (it looks like UTF-16)",
            where=label,
            remedy="write it as plain CSV in UTF-8",
        )
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    first, header, body = _header(content, label)
    check_header(header, kind, label)
    columns = [header.index(name) for name in wanted(kind) if name in header]

    bad: BadLines = {}
    body = _without_unreadable(body, first + 1, bad)
    if b'"' in body:
        rows, line = _quoted(body, first + 1, header, columns, bad, label)
        columns, width = list(range(len(columns))), len(columns)
    else:
        rows, line = _plain(body, first + 1, len(header), bad)
        width = len(header)
    names = [name for name in wanted(kind) if name in header]
    table = _parsed(rows, names, columns, width, quoted=b'"' in rows, label=label)
    last = header[-1] if header else ""
    numeric = last in names and last not in TEXT | EVIDENCE
    n_lines = first + 1 + body.count(b"\n")
    cut = numeric and not body.endswith(b"\n") and bool(len(line)) and line[-1] == n_lines
    return RawTable(table, line, tuple(header), bad, cut, digest)


def _header(content: bytes, label: str) -> tuple[int, list[str], bytes]:
    """Row number of the header, its names, and everything behind it."""
    number, rest = 1, content
    while True:
        line, newline, rest = rest.partition(b"\n")
        if line.strip(b" \t"):
            break
        if not newline:
            raise InputError(
                "holds nothing but blank lines", where=label, remedy="run the backtest again"
            )
        number += 1
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        raise InputError(
            "not UTF-8 text in the header",
            where=label,
            row=number,
            remedy="write it as plain CSV in UTF-8",
        )
    try:
        (cells,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise InputError(
            f"the header is not CSV ({error})", where=label, row=number, remedy="write it again"
        ) from None
    return number, [cell.strip() for cell in cells], rest


def _without_unreadable(body: bytes, first: int, bad: BadLines) -> bytes:
    """Blank the lines that hold NUL or are not UTF-8; each stays a line, so numbers hold."""
    suspects: set[int] = set()
    plain = body.isascii()
    if plain and b"\0" not in body:
        return body
    buffer = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(buffer == _NEWLINE)
    suspect = (buffer == 0) | (buffer >= 128)
    suspects.update(np.unique(np.searchsorted(ends, np.flatnonzero(suspect))).tolist())
    lines = body.split(b"\n")
    for number in sorted(suspects):
        line = lines[number]
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            bad[first + number] = ("not UTF-8 text", _cells(line))
        else:
            if b"\0" not in line:
                continue
            bad[first + number] = ("NUL bytes", _cells(line))
        lines[number] = b""
    return b"\n".join(lines)


def _plain(body: bytes, first: int, width: int, bad: BadLines) -> tuple[bytes, Ints]:
    """Rows of text without quotes, and their row numbers: a comma is a comma."""
    buffer = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(buffer == _NEWLINE)
    if len(body) and buffer[-1] != _NEWLINE:
        ends = np.append(ends, len(body))
    line_number = np.arange(len(ends), dtype=np.int64) + first
    commas = np.flatnonzero(buffer == _COMMA)
    # Mostly each line has its commas: then those of a line are those between its ends.
    n = width - 1
    if len(commas) == n * len(ends) and (
        not n or bool((commas[n - 1 :: n] < ends).all() and (commas[n::n] > ends[:-1]).all())
    ):
        return body, line_number
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    fields = np.searchsorted(commas, ends) - np.searchsorted(commas, starts) + 1
    wrong = np.flatnonzero(fields != width)
    drop = []
    for i in wrong.tolist():
        line = body[starts[i] : ends[i]]
        drop.append(i)
        if line.strip() and first + i not in bad:
            bad[first + i] = (_fields(int(fields[i]), width), _cells(line))
    keep: npt.NDArray[np.bool_] = np.ones(len(body), dtype=np.bool_)
    for i in drop:
        keep[starts[i] : ends[i] + 1] = False
    return buffer[keep].tobytes(), np.delete(line_number, drop)


def _quoted(
    body: bytes, first: int, header: list[str], columns: list[int], bad: BadLines, label: str
) -> tuple[bytes, Ints]:
    """Rows of text with quotes, rewritten with the used columns only; slower, and rare.

    A cell that runs over several lines is no cell of a log: a quote was opened by accident, so
    every line it swallowed is malformed.
    """
    reader = csv.reader(io.StringIO(body.decode("utf-8"), newline=""), strict=True)
    out, line = io.StringIO(newline=""), []
    writer = csv.writer(out, lineterminator="\n")
    while True:
        before = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            swallowed = reader.line_num - before
            if "unexpected end of data" in str(error) or swallowed > 1:
                raise InputError(
                    "a quote is opened here and never closed",
                    where=label,
                    row=first + before,
                    remedy="look for a stray quote or a cut line",
                ) from None
            for number in range(before, max(reader.line_num, before + 1)):
                bad[first + number] = (f"no CSV ({error})", ())
            continue
        lines = reader.line_num - before
        if lines > 1:
            for number in range(before, reader.line_num):
                bad[first + number] = ("inside a quote that runs over several lines", ())
            bad[first + before] = (bad[first + before][0], tuple(cells[:_KEPT]))
        elif len(cells) == len(header):
            writer.writerow([cells[i] for i in columns])
            line.append(first + before)
        elif any(cell.strip() for cell in cells):
            bad[first + before] = (_fields(len(cells), len(header)), tuple(cells[:_KEPT]))
    return out.getvalue().encode(), np.array(line, dtype=np.int64)


def _parsed(
    rows: bytes, names: list[str], columns: list[int], width: int, *, quoted: bool, label: str
) -> pd.DataFrame:
    """The chosen columns, by pandas: text as text, numbers as numbers where all are."""
    if not rows:
        return pd.DataFrame({name: pd.Series(dtype="str") for name in names})
    by_place = {str(at): name for at, name in zip(columns, names, strict=True)}
    try:
        table = pd.read_csv(
            io.BytesIO(rows),
            header=None,
            names=[str(at) for at in range(width)],
            usecols=list(by_place),
            dtype=cast("Any", {at: "str" for at, name in by_place.items() if name in TEXT}),
            keep_default_na=False,
            na_values={at: _NOTHING for at, name in by_place.items() if name not in TEXT},
            encoding="utf-8",
            low_memory=False,
            skip_blank_lines=False,
            index_col=False,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )
    except (pd.errors.ParserError, OverflowError) as error:
        text = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise InputError(
            f"can't be read as CSV ({text})",
            where=label,
            remedy="look for a stray quote or a cut line",
        ) from None
    return table.rename(columns=by_place)[names]


def _fields(found: int, width: int) -> str:
    return f"{found} fields where the header has {width}"


def _cells(line: bytes) -> tuple[str, ...]:
    return tuple(line[:4000].decode("utf-8", errors="replace").split(",")[:_KEPT])
