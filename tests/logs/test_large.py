"""Large logs are read in whole columns: what that accepts, the row reader reads alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.calibration import Calibration, run_steps
from mm.core.concurrency import ahead, side_by_side
from mm.core.errors import InputError
from mm.core.settings import Settings
from mm.logs.bookkeeping import NAMES, Changes
from mm.logs.columnar.ids import FileIds, numbered
from mm.logs.columnar.packed import Repeating
from mm.logs.columnar.reader import read_columns
from mm.logs.columnar.stream import NeedsRowReader
from mm.logs.load import BacktestLog, load_log
from mm.simulate.write import csv_bytes
from tests.support import damage
from tests.support.damage import KINDS, Damage

Tables = dict[str, pd.DataFrame]
SETTINGS = Settings.build({"SYMBOL": "AAA", "TICK_SIZE": 1.0})
DAMAGES = damage.all_damages()


@pytest.fixture(scope="module")
def good() -> Tables:
    return damage.good_tables()


@pytest.fixture
def from_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm.logs.load.LARGE_BYTES", 0)


def is_fast(log: BacktestLog) -> bool:
    return all(run.order_names is not None for run in log.runs)


def found(folder: Path) -> object:
    """What a user sees of a log: its tables as the row reader has them, or the error."""
    try:
        log = load_log(folder, "AAA")
    except InputError as error:
        return str(error)
    out: list[object] = [log.warnings, log.fill_source, log.inputs_sha256]
    for run in log.runs:
        assert run.ledger is not None
        out += [run.end_ms, run.name, run.set_aside, run.warnings, run.appended, run.shifted]
        out += [run.disagree, run.mid_offset, run.price_offset]
        for column in (run.ledger.inventory, run.ledger.cash, run.ledger.open_orders):
            out.append(None if column is None else column.cells(0, column.n).tolist())
        for table in (run.orders, run.fills, run.state):
            shown = table.drop(
                columns=["remaining_qty", "reject_reason", "mtm_value", *NAMES], errors="ignore"
            )
            if run.order_names is not None and "order_id" in shown:
                shown["order_id"] = run.order_names.of(shown["order_id"].to_numpy())
            if "expire_recv_ms" not in shown:
                shown = shown.assign(expire_recv_ms=np.nan)
            text = shown.select_dtypes(["category", "str"]).columns
            kinds = dict.fromkeys(text, "str") | {
                name: "float64" for name in ("expire_recv_ms",) if name in shown
            }
            out.append(shown.astype(kinds)[sorted(shown, key=str)].to_dict("list"))
    return out


@pytest.mark.parametrize("case", DAMAGES, ids=lambda case: case.name)
def test_either_way_says_the_same(
    case: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = damage.write_good(tmp_path / "run")
    case.apply(folder)
    by_row = found(folder)
    monkeypatch.setattr("mm.logs.load.LARGE_BYTES", 0)
    assert repr(found(folder)) == repr(by_row)


@pytest.mark.parametrize(
    ("damaged", "where", "why"),
    [
        (("orders", "price 12o.5 in one row"), "orders_AAA.csv", "12o.5"),
        (("fills", "Latin-1 bytes in a cell"), "fills_AAA.csv", "letters beyond ASCII"),
        (("state", "rows shuffled"), "state_AAA.csv", "time that goes backwards"),
        (("fills", "all rows of one order missing"), "run", "fills of 1 orders"),
    ],
    ids=lambda case: str(case),
)
def test_what_sends_a_run_to_the_row_reader_is_logged(
    damaged: tuple[str, str],
    where: str,
    why: str,
    tmp_path: Path,
    from_the_first_byte: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mm")
    folder = damage.write_good(tmp_path / "run")
    assert is_fast(load_log(folder, "AAA"))
    assert not caplog.messages
    next(one for one in DAMAGES if (one.where, one.what) == damaged).apply(folder)
    assert not is_fast(load_log(folder, "AAA"))
    (line,) = caplog.messages
    assert line.split(": ")[0].endswith(where)
    assert why in line


def written(folder: Path, good: Tables, suffix: str) -> Path:
    folder.mkdir()
    for kind in KINDS:
        path = folder / f"{kind}_AAA{suffix}"
        if suffix == ".parquet":
            good[kind].to_parquet(path)
        else:
            text = csv_bytes(good[kind])
            good[kind].to_csv(path, index=False) if suffix == ".csv.gz" else path.write_bytes(text)
    return folder


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.usefixtures("from_the_first_byte")
def test_a_clean_log_is_read_in_whole_columns_and_gives_the_same_numbers(
    suffix: str, good: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "run", good, suffix)
    with monkeypatch.context() as small:
        small.setattr("mm.logs.columnar.stream.CHUNK_BYTES", 5_000)
        small.setattr("mm.logs.columnar.stream.CHUNK_ROWS", 100)
        small.setattr("mm.logs.columnar.ids._SLICE", 300)
        for module in ("core.arrays", "logs.order_ids"):
            small.setattr(f"mm.{module}.SLICE", 7)
        small.setattr("mm.exposure.midpath._SLICE", 7)
        small.setattr("mm.core.concurrency.LONG", 0)
        fast = load_log(folder, "AAA")
        one = run_steps(fast, SETTINGS)
    assert is_fast(fast)
    monkeypatch.setattr("mm.logs.load.LARGE_BYTES", 1 << 40)
    by_row = load_log(folder, "AAA")
    assert not is_fast(by_row)
    other = run_steps(by_row, SETTINGS)
    assert shown(one) == shown(other)
    assert fast.inputs_sha256 == by_row.inputs_sha256


def test_items_made_ahead_come_in_order_and_so_does_what_goes_wrong() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise NeedsRowReader("the fourth")

    seen: list[int] = []
    with pytest.raises(NeedsRowReader, match="the fourth"):
        seen.extend(ahead(items()))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("rows", [0, 1 << 40])
def test_of_two_calls_the_first_failure_is_raised(rows: int) -> None:
    def fails(name: str) -> int:
        raise NeedsRowReader(name)

    assert side_by_side(rows, lambda: 1, lambda: "b") == (1, "b")
    with pytest.raises(NeedsRowReader, match="one"):
        side_by_side(rows, lambda: fails("one"), lambda: fails("two"))
    with pytest.raises(NeedsRowReader, match="two"):
        side_by_side(rows, lambda: 1, lambda: fails("two"))


def shown(result: Calibration) -> object:
    assert result.params is not None
    params = result.params.model_dump(exclude={"created_utc"})
    records = result.accounts.records().to_dict("list")
    return repr((params, result.points_csv(), records, result.verdict.line))


@pytest.mark.parametrize(
    "text",
    [
        "60000.10000000001",  # one bit more than parsers agree on
        "inf",
        "1e400",
        " ",
        "x",
    ],
)
def test_numbers_in_doubt_are_for_the_row_reader(text: str, tmp_path: Path) -> None:
    folder = damage.write_good(tmp_path)
    damage.cell("orders", "price", text, 3)(folder)
    with pytest.raises(NeedsRowReader):
        read_columns({kind: folder / f"{kind}_AAA.csv" for kind in KINDS})  # type: ignore[misc]


def batches(ids: list[str], sizes: list[int]) -> pa.ChunkedArray:
    cuts = np.minimum(np.cumsum([0, *sizes]), len(ids)).tolist()
    pieces = [ids[low:high] for low, high in pairwise([*cuts, len(ids)])]
    return pa.chunked_array([pa.array(piece, pa.string()).dictionary_encode() for piece in pieces])


WITHOUT_BLANKS = st.text(st.sampled_from("ab\0é7-"), max_size=20).filter(
    lambda text: not text or " " < min(text[0], text[-1]) <= max(text[0], text[-1]) < "\x7f"
)


@given(
    st.lists(st.lists(WITHOUT_BLANKS, min_size=1), min_size=1, max_size=3),
    st.lists(st.integers(0, 5), max_size=6),
)
def test_ids_are_numbered_as_text_in_order_of_appearance(
    files: list[list[str]], sizes: list[int]
) -> None:
    read = [FileIds(4) for _ in files]
    for ids, cells in zip(read, files, strict=True):
        empty = ids.add(batches(cells, sizes))
        assert [not text for text in cells] == (
            [False] * len(cells) if empty is None else empty.tolist()
        )
    codes, names = numbered(read)
    together = [text for cells in files for text in cells]
    numbers, distinct = pd.factorize(np.array(together, dtype=object))
    assert np.concatenate(codes).tolist() == numbers.tolist()
    assert names.text.to_pylist() == distinct.tolist()


def test_ids_with_one_mix_are_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mm.logs.columnar.ids._mixed", lambda text, start, length: 0 * start.astype("u8")
    )
    ids = FileIds(2)
    ids.add(batches(["order-1", "order-1", "order-2"], []))
    with pytest.raises(NeedsRowReader, match="one mix"):
        numbered([ids])


@given(
    st.lists(st.sampled_from([0.0, 1.5, -2.0, math.nan]), min_size=1),
    st.lists(st.integers(0, 9), max_size=4),
    st.data(),
)
def test_a_ledger_gives_back_every_cell(
    cells: list[float], sizes: list[int], data: st.DataObject
) -> None:
    values = np.array(cells)
    pieces = Repeating(2)
    for piece in np.split(values, np.minimum(np.cumsum(sizes, dtype=int), len(values))):
        pieces.add(piece)
    whole = Changes.of(values)
    rows = data.draw(st.lists(st.integers(0, len(cells) - 1)))
    for column in (whole, pieces.finish()):
        assert column.n == len(cells)
        assert repr(column.at(np.array(rows, dtype=np.int64)).tolist()) == repr(
            values[rows].tolist()
        )
        low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(cells))] * 2)))
        assert repr(column.cells(low, high).tolist()) == repr(cells[low:high])
        left, there = column.without_nothing()
        kept = values[np.isfinite(values)]
        assert left.cells(0, left.n).tolist() == kept.tolist()
        assert there is None or values[there].tolist() == kept.tolist()
