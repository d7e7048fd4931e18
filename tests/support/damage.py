"""Every way we know of that a log can be wrong, with what must happen then.

The list is the truth of three things: the tests run each entry, `docs/input.md` shows it as a
table (`python -m tests.support.damage` writes it there), and its messages are what users read.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mm.simulate import Scenario, simulate
from mm.simulate.write import csv_bytes

KINDS = ("orders", "fills", "state")
#: ``same``: the same numbers. ``noted``: numbers from what is there, and a note or a line of the
#: accounting that says what is not.
#: ``set aside``: rows are left out, named by number. ``refused``: a verdict without
#: parameters. ``failed``: an error, one line.
Outcome = Literal["same", "noted", "set aside", "refused", "failed"]
Apply = Callable[[Path], None]

SCENARIO = Scenario(
    A=0.6,
    k=0.3,
    duration_s=240.0,
    state_gap_ms=100,
    deltas_ticks=(1.0, 3.0, 6.0),
    dwell_ms=4000,
    ttl_ms=3500,
    requote_ticks=3.0,
    reject_share=0.02,
    partial_share=0.4,
)


@dataclass(frozen=True)
class Damage:
    """One way to be wrong: applied to a folder that holds one good run of AAA."""

    where: str
    what: str
    apply: Apply
    outcome: Outcome
    says: str = ""

    @property
    def name(self) -> str:
        """Identifies it in test reports."""
        return f"{self.where}: {self.what}"


def good_tables(seed: int = 1, start_ms: int = SCENARIO.start_ms) -> dict[str, pd.DataFrame]:
    """A good run: about 400 fills in four minutes."""
    log = simulate(replace(SCENARIO, start_ms=start_ms), seed)
    return {"orders": log.orders, "fills": log.fills, "state": log.state}


@cache
def _good_files() -> dict[str, bytes]:
    return {kind: csv_bytes(table) for kind, table in good_tables().items()}


def write_good(folder: Path, tables: dict[str, pd.DataFrame] | None = None) -> Path:
    """Write a good run of AAA: these tables, or ``good_tables()``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {k: csv_bytes(table) for k, table in tables.items()} if tables else _good_files()
    for kind, content in files.items():
        path_of(folder, kind).write_bytes(content)
    return folder


# --- tools -------------------------------------------------------------------------------------

Table = list[list[str]]


def path_of(folder: Path, kind: str) -> Path:
    return folder / f"{kind}_AAA.csv"


def raw(kind: str, change: Callable[[bytes], bytes]) -> Apply:
    """Change the bytes of one file."""

    def apply(folder: Path) -> None:
        path = path_of(folder, kind)
        path.write_bytes(change(path.read_bytes()))

    return apply


def each(change: Callable[[bytes], bytes]) -> Apply:
    """Change the bytes of all files."""

    def apply(folder: Path) -> None:
        for kind in KINDS:
            raw(kind, change)(folder)

    return apply


def cells(kind: str, change: Callable[[Table], Table | None]) -> Apply:
    """Change the cells of one file, the header being row 0."""

    def apply(folder: Path) -> None:
        path = path_of(folder, kind)
        table = [line.split(",") for line in path.read_text().splitlines()]
        changed = change(table)
        lines = table if changed is None else changed
        path.write_text("".join(",".join(row) + "\n" for row in lines))

    return apply


def column(kind: str, name: str, change: Callable[[str], str], only: str = "") -> Apply:
    """Change the cells of one column that are not empty; of the rows with one action only."""

    def edit(table: Table) -> None:
        at = table[0].index(name)
        act = table[0].index("action") if only else 0
        for row in table[1:]:
            if row[at] and (not only or row[act] == only):
                row[at] = change(row[at])

    return cells(kind, edit)


def cell(kind: str, name: str, text: str, nth: int = 40, action: str = "") -> Apply:
    """Put a text into one cell: of the nth row, or the nth with an action."""

    def edit(table: Table) -> None:
        at = table[0].index(name)
        rows = table[1:]
        if action:
            act = table[0].index("action")
            rows = [row for row in rows if row[act] == action]
        rows[nth][at] = text

    return cells(kind, edit)


def row_of(kind: str, name: str, text: str, share: float) -> Apply:
    """Put a text into a share of the cells of a column, evenly spread."""

    def edit(table: Table) -> None:
        at, n = table[0].index(name), len(table) - 1
        for i in np.linspace(1, n, max(1, int(share * n)), dtype=int):
            table[i][at] = text

    return cells(kind, edit)


def times(
    kinds: Sequence[str], change: Callable[[int], object], names: Sequence[str] = ()
) -> Apply:
    """Change times: all time columns of some files, or the named ones."""

    def apply(folder: Path) -> None:
        for kind in kinds:
            with path_of(folder, kind).open() as file:
                header = next(csv.reader(file))
            for name in names or [n for n in header if n.endswith("_ms")]:
                if name in header:
                    column(kind, name, lambda text: str(change(int(text))))(folder)

    return apply


def rows(kind: str, change: Callable[[list[list[str]]], list[list[str]]]) -> Apply:
    """Change the rows behind the header."""
    return cells(kind, lambda table: [table[0], *change(table[1:])])


def header(kind: str, change: Callable[[list[str]], list[str]]) -> Apply:
    return cells(kind, lambda table: [change(table[0]), *table[1:]])


def gz(kind: str, change: Callable[[bytes], bytes] = lambda packed: packed) -> Apply:
    """Pack one file and damage the packed bytes."""

    def apply(folder: Path) -> None:
        path = path_of(folder, kind)
        packed = gzip.compress(path.read_bytes(), 1)
        path.unlink()
        path.with_name(path.name + ".gz").write_bytes(change(packed))

    return apply


def parquet(kind: str, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda t: t) -> Apply:
    """Write one file as Parquet instead."""

    def apply(folder: Path) -> None:
        path = path_of(folder, kind)
        table = pd.read_csv(path, dtype={"order_id": "str"})
        path.unlink()
        change(table).to_parquet(path.with_suffix(".parquet"), index=False)

    return apply


def parquet_bytes(kind: str, change: Callable[[bytes], bytes]) -> Apply:
    def apply(folder: Path) -> None:
        parquet(kind)(folder)
        path = path_of(folder, kind).with_suffix(".parquet")
        path.write_bytes(change(path.read_bytes()))

    return apply


def both(*steps: Apply) -> Apply:
    def apply(folder: Path) -> None:
        for step in steps:
            step(folder)

    return apply


def only_of(kind: str, keep: Callable[[dict[str, str]], bool]) -> Apply:
    """Keep some rows of a file."""

    def edit(table: Table) -> Table:
        names = table[0]
        kept = [row for row in table[1:] if keep(dict(zip(names, row, strict=True)))]
        return [names, *kept]

    return cells(kind, edit)


def appended(kinds: Sequence[str], start_ms: int, *, same_ids: bool = False) -> Apply:
    """Write another run behind the one that is there."""

    def apply(folder: Path) -> None:
        more = good_tables(2, SCENARIO.start_ms + start_ms)
        for kind in kinds:
            table = more[kind]
            if "order_id" in table and not same_ids:
                table = table.assign(order_id=table["order_id"].astype("str") + "-b")
            text = csv_bytes(table).split(b"\n", 1)[1]
            path = path_of(folder, kind)
            path.write_bytes(path.read_bytes() + text)

    return apply


def shuffled(kind: str) -> Apply:
    def change(lines: list[list[str]]) -> list[list[str]]:
        order = np.random.default_rng(3).permutation(len(lines))
        return [lines[i] for i in order]

    return rows(kind, change)


def swap_sides(text: str) -> str:
    return {"BUY": "SELL", "SELL": "BUY"}[text]


def unlink(kind: str) -> Apply:
    return lambda folder: path_of(folder, kind).unlink()


def a_folder(folder: Path) -> None:
    path_of(folder, "fills").unlink()
    path_of(folder, "fills").mkdir()


def a_loop(folder: Path) -> None:
    path = path_of(folder, "state")
    path.unlink()
    path.symlink_to(path.name)


def a_link_to_nowhere(folder: Path) -> None:
    path = path_of(folder, "orders")
    path.unlink()
    path.symlink_to("gone.csv")


def a_pipe(folder: Path) -> None:
    path_of(folder, "fills").unlink()
    os.mkfifo(path_of(folder, "fills"))


def scaled(factor: float) -> Callable[[str], str]:
    return lambda text: f"{float(text) * factor:.8f}"


def by_hand(text: bytes) -> bytes:
    """Every cell in quotes, as some tools write."""
    out = io.StringIO(newline="")
    lines = (line.split(",") for line in text.decode().splitlines())
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(lines)
    return out.getvalue().encode()


def every(
    step: int, change: Callable[[list[str]], list[str]]
) -> Callable[[list[list[str]]], Table]:
    return lambda lines: [change(row) if i % step == 1 else row for i, row in enumerate(lines)]


def moved(kind: str, by_ms: int) -> Apply:
    return times([kind], lambda t: t + by_ms)


HOUR, DAY = 3_600_000, 86_400_000
_ISO = "2025-01-01T00:00:01.000Z"
D = Damage


def files() -> list[Damage]:
    """Files that are not there, not whole, or not text."""
    out = [
        D(k, "missing", unlink(k), "failed", f"no {k}_AAA.csv, .csv.gz or .parquet") for k in KINDS
    ]
    out += [
        D(k, "zero bytes", raw(k, lambda _: b""), "failed", f"{k}_AAA.csv: file is empty")
        for k in KINDS
    ]
    out += [
        D(k, "blank lines only", raw(k, lambda _: b"\n\n"), "failed", "nothing but blank lines")
        for k in ("orders",)
    ]
    head = [(k, rows(k, lambda lines: [])) for k in KINDS]
    out += [
        D("orders", "header only", head[0][1], "failed", "orders_AAA.csv: no usable order row"),
        D("fills", "header only", head[1][1], "noted", "the fills of"),
        D("state", "header only", head[2][1], "failed", "state_AAA.csv: no usable state row"),
        D("fills", "a folder of that name", a_folder, "failed", "fills_AAA.csv: is a folder"),
        D("state", "a symlink to itself", a_loop, "failed", "state_AAA.csv: can't be read"),
        D("orders", "a symlink to nowhere", a_link_to_nowhere, "failed", "the file vanished"),
        D("fills", "a named pipe", a_pipe, "failed", "fills_AAA.csv: is no regular file"),
        D("state", "gzip, cut in the middle", gz("state", lambda p: p[: len(p) // 2]), "failed",
          "state_AAA.csv.gz: not a whole gzip file"),
        D("fills", "gzip, a byte changed", gz("fills", lambda p: p[:500] + bytes([p[500] ^ 255])
          + p[501:]), "failed", "fills_AAA.csv.gz: not a whole gzip file"),
        D("orders", "gzip with garbage behind", gz("orders", lambda p: p + b"garbage"), "failed",
          "orders_AAA.csv.gz: not a whole gzip file"),
        D("orders", "named .gz but plain text", gz("orders", gzip.decompress), "failed",
          "orders_AAA.csv.gz: not a whole gzip file"),
        D("state", "gzip named .csv", raw("state", gzip.compress), "failed", "not UTF-8 text"),
        D("orders", "UTF-16", raw("orders", lambda b: b.decode().encode("utf-16")), "failed",
          "not UTF-8 text (it looks like UTF-16)"),
        D("state", "UTF-16 without a mark", raw("state", lambda b: b.decode().encode("utf-16-le")),
          "failed", "not UTF-8 text in the header"),
        D("all", "byte order mark", each(lambda b: b"\xef\xbb\xbf" + b), "same"),
        D("all", "CRLF line ends", each(lambda b: b.replace(b"\n", b"\r\n")), "same"),
        D("all", "CR line ends", each(lambda b: b.replace(b"\n", b"\r")), "same"),
        D("all", "every cell in quotes", each(by_hand), "same"),
        D("all", "blank lines between", each(lambda b: b.replace(b"\n", b"\n\n")), "same"),
        D("all", "no end of the last line", each(lambda b: b.rstrip(b"\n")), "same"),
        D("all", "rows of commas at the end", both(*(raw(k, lambda b: b + b"," * b.split(
            b"\n")[0].count(b",") + b"\n") for k in KINDS)), "same"),
        D("fills", "Latin-1 bytes in a cell", raw("fills", lambda b: b.replace(
            b"trade_cross", b"trade_cr\xf6ss", 3)), "set aside", "not UTF-8 text"),
        D("state", "NUL bytes in a row", raw("state", lambda b: b[:60_000] + b"\0\0"
          + b[60_000:]), "set aside", "NUL bytes"),
        D("orders", "a block of NUL bytes at the end", raw("orders", lambda b: b + bytes(4096)),
          "set aside", "NUL bytes"),
        D("state", "separated by ;", raw("state", lambda b: b.replace(b",", b";")), "failed",
          "row 1: one column only: separated by ';', not by commas"),
        D("orders", "separated by tabs", raw("orders", lambda b: b.replace(b",", b"\t")), "failed",
          r"separated by '\t', not by commas"),
        D("fills", "separated by |", raw("fills", lambda b: b.replace(b",", b"|")), "failed",
          "separated by '|', not by commas"),
        D("orders", "a quote that is opened and never closed", cell("orders", "order_id", '"abc'),
          "failed", "row 42: a quote is opened here and never closed"),
        D("state", "a newline inside quotes", cell("state", "mid", '"60000\n"'), "set aside",
          "row 42 and 1 more: inside a quote that runs over several lines"),
        D("state", "the last line cut", raw("state", lambda b: b[:-20]), "set aside",
          "fields where the header has 6"),
        D("orders", "the last line cut", raw("orders", lambda b: b[:-40]), "set aside",
          "fields where the header has 14"),
        D("state", "a mid at the end of the last line, perhaps cut", both(cells("state", lambda t: [
            [row[0], row[3]] for row in t]), raw("state", lambda b: b[:-3])), "set aside",
          "the line is not ended, so its last number may be cut"),
        D("fills", "a comma too many in a row", cell("fills", "qty", "1,0"), "set aside",
          "row 42: 8 fields where the header has 7"),
        D("orders", "Parquet: text", both(gz("orders", gzip.decompress), lambda f: (
            f / "orders_AAA.csv.gz").rename(f / "orders_AAA.parquet")), "failed",
          "orders_AAA.parquet: not a Parquet file"),
        D("state", "Parquet, cut", parquet_bytes("state", lambda b: b[: len(b) // 2]), "failed",
          "state_AAA.parquet: not a Parquet file"),
        D("state", "Parquet, bytes changed", parquet_bytes("state", lambda b: b[:100]
          + bytes(2000) + b[2100:]), "failed", "state_AAA.parquet: not a Parquet file"),
        D("all", "Parquet", both(*(parquet(k) for k in KINDS)), "same"),
        D("all", "Parquet with times as timestamps", both(*(parquet(k, lambda t: t.assign(**{
            n: pd.to_datetime(t[n], unit="ms", utc=True) for n in t if n.endswith("_ms")}))
            for k in KINDS)), "same"),
        D("orders", "Parquet with a price of type bool", parquet("orders", lambda t: t.assign(
            price=True)), "failed", "column price: is of type bool; write numbers there"),
        D("fills", "Parquet with lists", parquet("fills", lambda t: t.assign(
            order_id=[[x] for x in t["order_id"]])), "failed", "column order_id: is of type list"),  # type: ignore[misc]
        D("state", "Parquet with a null mid", parquet("state", lambda t: t.assign(
            mid=t["mid"].where(t.index != 40))), "noted",
          "state_AAA.parquet, row 42: 1 rows without a mid"),
        D("all", "a .csv.gz beside the .csv", lambda f: (f / "fills_AAA.csv.gz").write_bytes(
            gzip.compress(b"x")), "noted", "fills_AAA.csv is read; fills_AAA.csv.gz beside it is"),
    ]  # fmt: skip
    return out


def columns() -> list[Damage]:
    """Headers."""
    return [
        D("state", "column mid missing", header("state", lambda h: ["x" if n == "mid" else n
          for n in h]), "failed", "state_AAA.csv, row 1: column mid missing (found: recv_ms,"),
        D("orders", "column side missing", cells("orders", lambda t: [r[:4] + r[5:] for r in t]),
          "failed", "orders_AAA.csv, row 1: column side missing"),
        D("fills", "column order_id renamed", header("fills", lambda h: ["id" if n == "order_id"
          else n for n in h]), "failed", "fills_AAA.csv, row 1: column order_id missing"),
        D("orders", "names in capitals", header("orders", lambda h: [n.upper() for n in h]),
          "failed", "recv_ms, order_id, action, side, price missing"),
        D("all", "blanks around the names", both(*(header(k, lambda h: [f" {n} " for n in h])
          for k in KINDS)), "same"),
        D("state", "no header", cells("state", lambda t: t[1:]), "failed", "row 1: no header"),
        D("orders", "no header", cells("orders", lambda t: t[1:]), "failed", "row 1: no header"),
        D("orders", "two columns named price", header("orders", lambda h: ["price" if n == "qty"
          else n for n in h]), "failed", "orders_AAA.csv, row 1: column price stands 2 times"),
        D("all", "columns in another order", both(*(cells(k, lambda t: [r[::-1] for r in t])
          for k in KINDS)), "same"),
        D("all", "extra columns", both(*(cells(k, lambda t: [["note", *t[0]], *(["x", *r]
          for r in t[1:])]) for k in KINDS)), "same"),
        D("all", "an extra column twice", both(*(cells(k, lambda t: [["note", "note", *t[0]],
          *(["x", "y", *r] for r in t[1:])]) for k in KINDS)), "same"),
        D("orders", "two symbols in a symbol column", cells("orders", lambda t: [[*t[0], "symbol"],
          *([*r, "AAA" if i % 2 else "BBB"] for i, r in enumerate(t[1:]))]), "failed",
          "column symbol: rows of several symbols (AAA, BBB)"),
        D("all", "symbol columns that differ", both(*(cells(k, lambda t, s=s: [[*t[0], "symbol"],  # type: ignore[misc]
          *([*r, s] for r in t[1:])]) for k, s in zip(KINDS, ("AAA", "BBB", "AAA"), strict=True))),
          "failed", "holds BBB, but orders_AAA.csv holds AAA"),
        D("orders", "a field too many in every row", rows("orders", lambda lines: [[*r, ""]
          for r in lines]), "failed",
          "no usable order row (row 2: 15 fields where the header has 14)"),
    ]  # fmt: skip


def numbers() -> list[Damage]:
    """Cells that hold something else than they should."""
    out = []
    for kind, name, action in (
        ("orders", "price", "PLACE"),
        ("state", "mid", ""),
        ("fills", "price", ""),
    ):
        column_ = f"column {name}: "
        for text, said in (("12o.5", "no number ('12o.5')"), ("inf", "infinite"),
                           ("-5", "no positive price"), ("0", "no positive price")):  # fmt: skip
            out.append(D(kind, f"{name} {text} in one row", cell(kind, name, text, 40, action),
                         "set aside", column_ + said))  # fmt: skip
    out += [
        D("orders", "price NaN in one row", cell("orders", "price", "NaN", 40, "PLACE"),
          "set aside", "column price: no price"),
        D("state", "mid empty in one row", cell("state", "mid", ""), "noted",
          "state_AAA.csv, row 42: 1 rows without a mid; until the next one it counts as unknown"),
        D("state", "mid times 100 in one row", cell("state", "mid", "6000012.5"), "set aside",
          "column mid: far from the mids around it ('6000012.5')"),
        D("state", "one mid off by 5 %", cell("state", "mid", "63000.0", 900), "set aside",
          "column mid: not the one by which the row's mtm_value was counted"),
        D("state", "all mids off by 5", column("state", "mid", lambda s: f"{float(s) + 5:.2f}"),
          "refused", "(+5 ticks) from the mids by which the rows' mtm_value was counted"),
        D("orders, fills", "all prices 2 higher", both(
          column("orders", "price", lambda s: f"{float(s) + 2:.2f}"),
          column("fills", "price", lambda s: f"{float(s) + 2:.2f}")),
          "refused", "(+2 ticks) from the prices by which cash moved in"),
        D("fills", "prices off by 30", column("fills", "price", lambda s: f"{float(s) + 30}"),
          "refused", "column price: worse than the limit of its order"),
        D("state", "2 % of the mids empty", row_of("state", "mid", "", 0.02), "noted",
          "rows without a mid"),
        D("state", "2 % of the mids zero", row_of("state", "mid", "0", 0.02), "refused",
          "column mid: no positive price ('0.0'); left out ("),
        D("orders", "2 % of the prices text", row_of("orders", "price", "n/a?", 0.02), "refused",
          "column price: no number ('n/a?')"),
        D("state", "mids with a comma in a thousand", column("state", "mid", lambda s:
          f'"{float(s):,.1f}"'), "failed", "column mid: holds no number at all (for example '6"),
        D("orders", "prices with a decimal comma", column("orders", "price", lambda s:
          '"' + s.replace(".", ",") + '"'), "failed", "column price: holds no number at all"),
        D("fills", "decimal commas without quotes", column("fills", "price", lambda s:
          s.replace(".", ",")), "refused", "8 fields where the header has 7"),
        D("orders", "prices times 100", column("orders", "price", scaled(100)), "failed",
          "is nowhere near the mid"),
        D("state", "mids times 100", column("state", "mid", scaled(100)), "failed",
          "is nowhere near the mid"),
        D("fills", "prices times 100", column("fills", "price", scaled(100)), "refused",
          "column price: far from the price of its order"),
        D("state", "mids of two symbols, row by row", rows("state", every(2, lambda r: [*r[:3],
          "3000.0", *r[4:]])), "refused", "column mid: far from the mids around it"),
        D("fills", "5 % of the fills at another symbol's price", row_of("fills", "price", "3000.0",
          0.05), "refused", "column price: far from the price of its order"),
        D("orders", "5 % of the orders at another symbol's price", row_of("orders", "price",
          "3000.0", 0.05), "refused", "is nowhere near the mid"),
        D("state", "a constant mid", column("state", "mid", lambda _: "60000.0"), "refused",
          "of the orders were placed through mid"),
        D("orders", "a very long cell", cell("orders", "reject_reason", "x" * 300_000), "same"),
        D("orders", "an id of 100 000 letters", cell("orders", "order_id", "x" * 100_000, 40,
          "CANCEL_ACK"), "same"),
        D("fills", "qty negative in one row", cell("fills", "qty", "-1"), "set aside",
          "column qty: no positive quantity"),
    ]  # fmt: skip
    return out


def clocks() -> list[Damage]:
    """Times."""
    out = []
    for kind in KINDS:
        for unit, change in (("s", lambda t: t // 1000), ("µs", lambda t: t * 1000),
                             ("ns", lambda t: t * 1_000_000)):  # fmt: skip
            out.append(D(kind, f"times in {unit}", times([kind], change), "failed",
                         f"{kind}_AAA.csv, column recv_ms: times are in {unit} "))  # fmt: skip
    for name in ("active_recv_ms", "expire_recv_ms", "cancel_effective_ms"):
        for unit, change in (("s", lambda t: t // 1000), ("µs", lambda t: t * 1000)):
            out.append(D("orders", f"{name} in {unit}", times(["orders"], change, [name]), "failed",
                         f"column {name}: times are in {unit} "))  # fmt: skip
    out += [
        D("all", "times in s", times(KINDS, lambda t: t // 1000), "failed", "times are in s"),
        D("all", "times such as 1735689600000.0", times(KINDS, lambda t: f"{t}.0"), "same"),
        D("state", "times such as 1735689600000.5", times(["state"], lambda t: f"{t}.5"), "failed",
          "no usable state row (row 2: column recv_ms: no whole ms"),
        D("fills", "one time with half a ms", cell("fills", "recv_ms", "1735689650000.5"),
          "set aside", "column recv_ms: no whole ms"),
        D("fills", "ISO times", times(["fills"], lambda _: _ISO, ["recv_ms"]), "failed",
          f"row 2, column recv_ms: holds no number at all (for example '{_ISO}')"),
        D("state", "one ISO time", cell("state", "recv_ms", _ISO), "set aside",
          f"row 42: column recv_ms: no number ('{_ISO}')"),
        D("state", "one time empty", cell("state", "recv_ms", ""), "set aside",
          "row 42: column recv_ms: no time"),
        D("orders", "one time negative", cell("orders", "recv_ms", "-1"), "set aside",
          "row 42: column recv_ms: a time that is not positive"),
        D("fills", "one time of zero", cell("fills", "recv_ms", "0"), "set aside",
          "row 42: column recv_ms: a time that is not positive"),
        D("fills", "one time in µs", cell("fills", "recv_ms", "1735689650000000"), "set aside",
          "row 42: column recv_ms: more than a year from the other rows"),
        D("state", "one time far ahead", cell("state", "recv_ms", "99999999999999"), "set aside",
          "row 42: column recv_ms: more than a year from the other rows"),
    ]  # fmt: skip
    for kind in KINDS:
        for text, by in (("3 s late", 3000), ("an hour early", -HOUR), ("a day late", DAY)):
            says = {
                "orders": "placed in the ms of the rows of state_AAA.csv only once",
                "fills": f"first fills come {by:+d} ms after the FILL rows of orders_AAA.csv",
                "state": "placed in the ms of the rows of state_AAA.csv only once",
            }
            out.append(D(kind, f"clock {text}", moved(kind, by), "refused", says[kind]))
    late = {
        "active_recv_ms": "first fills lie outside the time their order rested",
        "expire_recv_ms": "column expire_recv_ms: after the row that says it expired",
        "cancel_effective_ms": "column cancel_effective_ms: after the row that acknowledges it",
    }
    for name, said in late.items():
        for text, by in (("5 s late", 5000), ("an hour late", HOUR), ("an hour early", -HOUR)):
            change = times(["orders"], lambda t, by=by: t + by, [name])  # type: ignore[misc]
            on_place = name != "cancel_effective_ms"
            outcome: Outcome = "failed" if by < 0 and on_place else "refused"
            says_ = f"column {name}: before " if by < 0 else said
            out.append(D("orders", f"{name} {text}", change, outcome, says_))
    out += [
        D("state", "clock from zero", times(["state"], lambda t: t - SCENARIO.start_ms + 1),
          "failed", "orders_AAA.csv, column recv_ms: from 2025-01-01 00:00:00 to"),
        D("all", "times cut to whole seconds", times(KINDS, lambda t: t // 1000 * 1000), "refused",
          "state_AAA.csv, column recv_ms: all times are multiples of 1,000 ms"),
        D("state", "every tenth row only", rows("state", lambda lines: lines[::10]), "refused",
          "of the orders were placed in the ms of a row, as all are where no row is missing"),
        D("all", "all clocks a day late", times(KINDS, lambda t: t + DAY), "same"),
        D("orders", "rows shuffled", shuffled("orders"), "same"),
        D("fills", "rows shuffled", shuffled("fills"), "same"),
        D("state", "rows shuffled", shuffled("state"), "noted", "time goes backwards at"),
        D("all", "second run appended, later", appended(KINDS, 300_000), "refused",
          "inventory and cash start again without a fill"),
        D("all", "second run appended, later, the same ids", appended(KINDS, 300_000,
          same_ids=True), "refused",
          "inventory and cash start again without a fill"),
        D("all", "second run appended, earlier", appended(KINDS, -300_000), "refused",
          "time starts again"),
        D("all", "second run appended, overlapping", appended(KINDS, 60_000), "refused",
          "time starts again"),
        D("all", "second run appended, seamless", appended(KINDS, 240_100), "refused",
          "inventory and cash start again without a fill"),
        D("orders", "second run appended to this file", appended(["orders"], 300_000), "refused",
          "of the orders were placed when no mid is known"),
        D("fills", "second run appended to this file", appended(["fills"], 300_000), "refused",
          "or belong to no order"),
        D("state", "second run appended to this file", appended(["state"], 300_000), "refused",
          "inventory and cash start again without a fill"),
        D("state", "second run appended to this file, seamless", appended(["state"], 240_100),
          "refused", "inventory and cash start again without a fill"),
        D("all", "the run twice in one file", each(lambda b: b + b.split(b"\n", 1)[1]), "refused",
          "time starts again 1 times"),
        D("orders", "the rows twice", rows("orders", lambda r: r + r), "refused",
          "time starts again"),
        D("fills", "the rows twice", rows("fills", lambda r: r + r), "refused",
          "time starts again"),
        D("fills", "each row twice", rows("fills", lambda r: [x for x in r for _ in "ab"]),
          "refused", "column qty: more than its order's"),
        D("state", "the rows twice", rows("state", lambda r: r + r), "refused",
          "time starts again"),
        D("state", "the header again in the middle", cells("state", lambda t: [*t[:500], t[0],
          *t[500:]]), "noted", "state_AAA.csv, row 501: the header line again; skipped"),
        D("orders", "the header again, twice", cells("orders", lambda t: [*t[:50], t[0],
          *t[50:90], t[0], *t[90:]]), "noted", "row 51: the header line again, and 1 more times"),
        D("state", "one row only", rows("state", lambda r: r[:1]), "refused",
          "of the orders were placed when no mid is known"),
        D("state", "the second half missing", rows("state", lambda r: r[: len(r) // 2]), "refused",
          "of the orders were placed when no mid is known"),
        D("state", "a gap of 20 s", rows("state", lambda r: [x for i, x in enumerate(r)
          if not 900 < i < 1100]), "noted",
          "outage (mid older than MAX_STATE_GAP_MS)"),
    ]  # fmt: skip
    return out


def with_amendments(table: Table) -> Table:
    """A third of the orders moved a tick outwards after 0.2 s, rows in time order."""
    rows = table[1:]
    for time, order_id, action, status, side, price, *_ in table[1:]:
        if action == "PLACE" and not int(time) % 3:
            moved = str(float(price) + (1 if side == "SELL" else -1))
            rows.append([str(int(time) + 200), order_id, "AMEND", status, side, moved, *[""] * 8])
    return [table[0], *sorted(rows, key=lambda row: int(row[0]))]


def orders() -> list[Damage]:
    """What orders and fills say of each other."""
    return [
        D("orders", "a PLACE row twice", cells("orders", lambda t: [*t[:2], t[1], *t[2:]]), "noted",
          "PLACE rows stand twice"),
        D("orders", "a PLACE row twice, another price", cells("orders", lambda t: [*t[:2],
          [*t[1][:5], "59000.0", *t[1][6:]], *t[2:]]), "failed",
          "orders_AAA.csv, row 3: order"),
        D("orders", "no status, but reasons to reject", cells("orders", lambda t: [[n for i, n in
          enumerate(r) if i != 3] for r in t]), "same"),
        D("fills", "clock 200 ms late", moved("fills", 200), "refused", "first fills come +200 ms"),
        D("orders", "no PLACE rows", only_of("orders", lambda r: r["action"] != "PLACE"), "failed",
          "no PLACE row (actions found: "),
        D("orders", "a tenth of the PLACE rows missing", rows("orders", lambda lines: [r for i, r in
          enumerate(lines) if r[2] != "PLACE" or i % 10 != 3]), "refused",
          "shorter than the state rows' open_orders say"),
        D("orders", "the cancels missing", only_of("orders", lambda r: "CANCEL" not in r["action"]),
          "refused", "longer than the state rows' open_orders say"),
        D("orders", "SKIP rows without id", cells("orders", lambda t: [*t, *([r[0], "", "SKIP",
          *[""] * 11] for r in t[1:20])]), "same"),
        D("orders", "rows of an unknown action", cells("orders", lambda t: [*t, *([*r[:2], "PING",
          *r[3:]] for r in t[-30:] if r[3] == "OPEN")]), "noted",
          "rows of unknown actions are ignored ("),
        D("orders", "amended prices", cells("orders", with_amendments), "noted", "a new price"),
        D("orders", "another price in later rows", cells("orders", lambda t: [*t, *([*r[:2],
          "CANCEL_REQ", *r[3:5], "59990.5", *r[6:]] for r in t[-5:])]), "set aside",
          "column price: not the one the order was placed with"),
        D("all", "actions and sides in small letters", both(column("orders", "action", str.lower),
          column("orders", "side", str.lower), column("fills", "side", str.title)), "same"),
        D("orders", "an unknown side in one row", cell("orders", "side", "LONG", 40, "PLACE"),
          "set aside", "column side: neither BUY nor SELL ('LONG')"),
        D("orders", "side 1 and -1", column("orders", "side", lambda s: "1" if s == "BUY" else
          "-1"), "noted", "side 1 as BUY, side -1 as SELL"),
        D("fills", "an unknown side in one row", cell("fills", "side", "?"), "set aside",
          "column side: neither BUY nor SELL ('?')"),
        D("orders", "sides swapped", column("orders", "side", swap_sides), "refused",
          "of the orders were placed through mid"),
        D("fills", "sides swapped", column("fills", "side", swap_sides), "refused",
          "column side: not that of its order"),
        D("all", "sides swapped", both(column("orders", "side", swap_sides), column("fills", "side",
          swap_sides)), "refused", "of the orders were placed through mid"),
        D("orders", "an action empty", cell("orders", "action", "", 40, "CANCEL_REQ"), "set aside",
          "column action: empty"),
        D("orders", "an order_id empty", cell("orders", "order_id", "", 40, "CANCEL_REQ"),
          "set aside", "column order_id: empty"),
        D("fills", "an order_id empty", cell("fills", "order_id", ""), "set aside",
          "row 42: column order_id: empty"),
        D("orders", "an active_recv_ms that is text", cell("orders", "active_recv_ms", "soon", 40,
          "PLACE"), "set aside", "column active_recv_ms: no number ('soon')"),
        D("orders", "one cancel effective an hour late", cell("orders", "cancel_effective_ms",
          str(SCENARIO.start_ms + HOUR), 40, "CANCEL_ACK"), "set aside",
          "column cancel_effective_ms: after the row that acknowledges it"),
        D("orders", "one cancel effective before its order", cell("orders", "cancel_effective_ms",
          str(SCENARIO.start_ms - HOUR), 40, "CANCEL_REQ"), "set aside",
          "column cancel_effective_ms: before the cancel was asked for"),
        D("orders", "ids as floats", column("orders", "order_id", lambda s: f"{s}.0"), "refused",
          "or belong to no order"),
        D("fills", "fills of another run", lambda f: path_of(f, "fills").write_bytes(csv_bytes(
            good_tables(2)["fills"].assign(order_id=lambda t: t["order_id"].astype("str") + "x"))),
          "refused", "or belong to no order"),
        D("fills", "three orphans", cells("fills", lambda t: [*t, *([r[0], f"ghost{i}", *r[2:]]
          for i, r in enumerate(t[-3:]))]), "same"),
        D("fills", "one row missing", rows("fills", lambda r: r[:40] + r[41:]), "same"),
        D("fills", "all rows of one order missing", lambda f: _without_order(f), "noted",
          "fills_AAA.csv: the fills of 1 orders are missing; taken from their FILL"),
        D("all", "the fills of every tenth order missing in both files", _tenth_lost, "refused",
          "says that something was traded, the other does not"),
        D("fills", "FILL rows only in orders, for every order", rows("fills", lambda r: []),
          "noted",
          "All fills come from the orders file"),
        D("fills", "one fill a minute late", _late_fill, "noted",
          "fills_AAA.csv: the fills of 1 orders"),
        D("fills", "fills after the end of the state rows", cells("fills", lambda t: [*t, *([str(
            int(t[-1][0]) + 60_000 + i), *r[1:]] for i, r in enumerate(t[-3:]))]), "set aside",
          "column qty: more than its order's"),
        D("orders", "the first rows before the state rows", rows("state", lambda r: r[50:]),
          "noted",
          "before the first state row"),
    ]  # fmt: skip


def _without_order(folder: Path) -> None:
    path = path_of(folder, "fills")
    name = path.read_text().splitlines()[1].split(",")[1]
    only_of("fills", lambda r: r["order_id"] != name)(folder)


def _tenth_lost(folder: Path) -> None:
    lines = path_of(folder, "fills").read_text().splitlines()[1:]
    lost = set(list(dict.fromkeys(line.split(",")[1] for line in lines))[::10])
    only_of("fills", lambda r: r["order_id"] not in lost)(folder)
    fills = ("FILL", "CLOSE_FILLED")
    only_of("orders", lambda r: r["order_id"] not in lost or r["action"] not in fills)(folder)


def _late_fill(folder: Path) -> None:
    path = path_of(folder, "fills")
    name = path.read_text().splitlines()[1].split(",")[1]

    def edit(table: Table) -> None:
        for row in table[1:]:
            if row[1] == name:
                row[0] = str(int(row[0]) + 60_000)

    cells("fills", edit)(folder)


def all_damages() -> list[Damage]:
    """The whole list, in the order of the page."""
    return [*files(), *columns(), *numbers(), *clocks(), *orders()]


# --- the page ----------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[2] / "docs" / "input.md"
BEGIN, END = "<!-- table: python -m tests.support.damage -->", "<!-- end of table -->"


def table() -> str:
    """The list as the table of the page."""
    lines = ["| file | what is wrong | what happens | what it says |", "|---|---|---|---|"]
    for d in all_damages():
        says = f"`…{d.says}…`" if d.says else ""
        cells_ = (d.where, d.what, d.outcome, says)
        lines.append("| " + " | ".join(cell_.replace("|", "\\|") for cell_ in cells_) + " |")
    return "\n".join(lines)


def page_with(text: str) -> str:
    """The page's text with the table of today in it."""
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{len(all_damages())} rows in {PAGE.name}\n")
