"""Laws that hold for every log, on simulated ones with random edits; and bytes nobody wrote."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm.calibration import run_steps
from mm.core.errors import CalibrationError
from mm.core.settings import Settings
from mm.exposure.accounting import Exposure, measure_exposure
from mm.exposure.distance import Selection
from mm.logs.load import BacktestLog, load_log, log_from_frames
from mm.simulate import Scenario, simulate
from mm.simulate.write import csv_bytes
from tests.support import slow

KINDS = ("orders", "fills", "state")
laws = settings(max_examples=25, deadline=None, derandomize=True)
RULES = slow.Rules(block_ms=5_000, max_ticks=20.0)

# --- generated logs ----------------------------------------------------------------------------


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Short runs of every kind."""
    per_tick = draw(st.booleans())
    return Scenario(
        A=draw(st.sampled_from([0.5, 1.5, 4.0])),
        k=draw(st.sampled_from([0.1, 0.3, 0.6])),
        fill_mode="per_tick" if per_tick else "continuous",
        duration_s=draw(st.sampled_from([8.0, 20.0])),
        volatility=draw(st.sampled_from([0.3, 1.0, 3.0])),
        state_gap_ms=draw(st.sampled_from([40, 150])),
        outages=draw(st.sampled_from([(), ((2.0, 5.5),)])),
        deltas_ticks=draw(st.sampled_from([(1.0, 4.0), (0.5, 2.5, 6.0)])),
        dwell_ms=draw(st.sampled_from([700, 3000])),
        ttl_ms=draw(st.sampled_from([None, 900])),
        requote_ticks=draw(st.sampled_from([None, 2.0])),
        reject_share=draw(st.sampled_from([0.0, 0.2])),
        partial_share=0.0 if per_tick else draw(st.sampled_from([0.0, 0.5])),
    )


@st.composite
def logs(draw: st.DrawFn) -> slow.Frames:
    """A simulated log with rows taken out, blanked and doubled, as the contract allows.

    The FILL rows go: they would repair the fills that are taken out.
    """
    log = simulate(draw(scenarios()), draw(st.integers(0, 2**16)))
    orders, fills, state = log.orders, log.fills, log.state[["recv_ms", "mid"]]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    orders = orders[~orders["action"].isin(["FILL", "CLOSE_FILLED"])]
    if draw(st.booleans()):
        orders = orders.assign(status=orders["status"].replace("FILLED", "OPEN"))
        fills = fills[rng.random(len(fills)) < 0.8]
    if draw(st.booleans()):
        state = state[(rng.random(len(state)) < 0.7) | (np.arange(len(state)) == 0)]
    if draw(st.booleans()):
        blank = (orders["action"] == "PLACE") & (rng.random(len(orders)) < 0.3)
        active = orders["active_recv_ms"].astype("float64")
        orders = orders.assign(active_recv_ms=active.mask(blank))
    if draw(st.booleans()):
        again = state[rng.random(len(state)) < 0.1]
        state = pd.concat([state, again.assign(mid=again["mid"] + 0.5)])
        state = state.sort_values("recv_ms", kind="stable")
    return tuple(t.reset_index(drop=True) for t in (orders, fills, state))  # type: ignore[return-value]


def measured(frames: slow.Frames, rules: slow.Rules = RULES) -> Exposure:
    log = log_from_frames([frames])
    assert log.set_aside == ()
    return measure_exposure(
        log.runs,
        tick_size=rules.tick_size,
        max_state_gap_ms=rules.max_gap_ms,
        block_s=rules.block_ms / 1000.0,
    )


def chosen(rules: slow.Rules) -> Selection:
    return Selection("signed" if rules.signed else "absolute", rules.min_ticks, rules.max_ticks)


def cells(frames: slow.Frames, rules: slow.Rules = RULES) -> pd.DataFrame:
    return pd.DataFrame(vars(measured(frames, rules).cells(chosen(rules))))


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal to the bit; qty is a sum of floats, whose order may change."""
    pd.testing.assert_frame_equal(
        found.drop(columns="qty"), expected.drop(columns="qty"), check_exact=True
    )
    np.testing.assert_allclose(found["qty"], expected["qty"], rtol=1e-12)


# --- laws --------------------------------------------------------------------------------------


@laws
@given(logs(), st.booleans())
def test_fast_and_slow_agree_exactly(frames: slow.Frames, signed: bool) -> None:
    rules = slow.Rules(block_ms=5_000, min_ticks=0.5, max_ticks=9.0, signed=signed)
    sums = slow.account([frames], rules)
    exposure, selection = measured(frames, rules), chosen(rules)
    found = exposure.cells(selection)
    for values, expected in ((found.exposure_ms, sums.exposure_ms), (found.events, sums.events)):
        keys = zip(found.block, found.side, found.delta, found.level, values, strict=True)
        got = {
            (0, int(b), "BUY" if s > 0 else "SELL", round(d * 1e6), int(at)): int(v)
            for b, s, d, at, v in keys
            if v
        }
        assert got == {key: n for key, n in expected.items() if n}
    rec = exposure.reconciliation(selection)
    for ours, theirs in (
        (rec.order_ms, sums.order_ms),
        (rec.fill_rows, sums.fill_rows),
        (rec.orders, sums.orders),
    ):
        assert {n: v for n, v in ours.items() if v} == {n: v for n, v in theirs.items() if v}


@laws
@given(logs())
def test_totals_reconcile(frames: slow.Frames) -> None:
    orders, fills, _ = frames
    exposure = measured(frames)
    rec = exposure.reconciliation(chosen(RULES))
    (intervals,) = exposure.intervals
    rested = int((intervals.end_ms - intervals.start_ms).sum())
    assert sum(rec.order_ms.values()) == rested == int(exposure.segments.duration_ms.sum())
    assert sum(rec.fill_rows.values()) == len(fills)
    placed = (orders["action"] == "PLACE").sum()
    assert rec.orders["accepted"] + rec.orders["rejected (no interval)"] == placed
    assert int(exposure.cells(chosen(RULES)).exposure_ms.sum()) == rec.order_ms["used"]


@laws
@given(logs(), st.integers(0, 2**16))
def test_the_order_of_rows_is_nothing(frames: slow.Frames, seed: int) -> None:
    rng = np.random.default_rng(seed)
    orders, fills, state = frames
    mixed = [t.iloc[rng.permutation(len(t))].reset_index(drop=True) for t in (orders, fills)]
    once = state.drop_duplicates("recv_ms", keep="last")
    shuffled = once.iloc[rng.permutation(len(once))].reset_index(drop=True)
    same(cells((mixed[0], mixed[1], shuffled)), cells(frames))


@laws
@given(logs(), st.integers(0, 2**16))
def test_the_names_of_orders_are_nothing(frames: slow.Frames, seed: int) -> None:
    rng = np.random.default_rng(seed)
    orders, fills, state = frames
    ids = orders["order_id"].unique()
    new = dict(zip(ids, (f"{i:05d}" for i in rng.permutation(len(ids))), strict=True))
    renamed = [t.assign(order_id=t["order_id"].map(new)) for t in (orders, fills)]
    same(cells((renamed[0], renamed[1], state)), cells(frames))


@laws
@given(logs(), st.integers(-(10**11), 10**12))
def test_where_the_clock_starts_is_nothing(frames: slow.Frames, shift: int) -> None:
    moved = tuple(
        t.assign(**{name: t[name] + shift for name in t.columns if name.endswith("_ms")})
        for t in frames
    )
    same(cells(moved), cells(frames))


@laws
@given(logs(), st.integers(-12, 12))
def test_the_unit_of_money_is_nothing(frames: slow.Frames, power: int) -> None:
    scale = 2.0**power
    orders, fills, state = frames
    scaled = (
        orders.assign(price=orders["price"] * scale),
        fills.assign(price=fills["price"] * scale),
        state.assign(mid=state["mid"] * scale),
    )
    same(cells(scaled, replace_tick(scale)), cells(frames))


def replace_tick(tick: float) -> slow.Rules:
    return replace(RULES, tick_size=tick)


@laws
@given(logs())
def test_buyers_and_sellers_are_mirror_images(frames: slow.Frames) -> None:
    orders, fills, state = frames
    other = {"BUY": "SELL", "SELL": "BUY"}
    # Reflected at a price that is exact in binary, as all simulated prices nearly are not: the
    # distances are rounded to 1e-6 ticks, which takes the last bit away again.
    about = 2.0 * 60_000.0
    mirrored = (
        orders.assign(side=orders["side"].map(other), price=about - orders["price"]),
        fills.assign(side=fills["side"].map(other), price=about - fills["price"]),
        state.assign(mid=about - state["mid"]),
    )
    rules = slow.Rules(block_ms=5_000, min_ticks=-20.0, max_ticks=20.0, signed=True)
    found = cells(mirrored, rules)
    found["side"] = -found["side"]
    keys = ["block", "side", "level", "delta"]
    same(found.sort_values(keys, ignore_index=True), cells(frames, rules))


@laws
@given(logs(), st.data())
def test_cutting_time_finer_is_nothing(frames: slow.Frames, data: st.DataObject) -> None:
    orders, fills, state = frames
    time, mid = state["recv_ms"].to_numpy(), state["mid"].to_numpy()
    wide = np.flatnonzero((np.diff(time) > 1) & (np.diff(time) <= RULES.max_gap_ms))
    at = np.array(data.draw(st.lists(st.sampled_from(wide.tolist()), max_size=12)), dtype=np.int64)
    more = pd.DataFrame({"recv_ms": time[at] + (time[at + 1] - time[at]) // 2, "mid": mid[at]})
    finer = pd.concat([state, more]).sort_values("recv_ms", kind="stable", ignore_index=True)
    same(cells((orders, fills, finer)), cells(frames))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(0, 2**16), st.integers(-6, 6))
def test_the_estimate_itself_obeys_them_all_at_once(seed: int, power: int) -> None:
    log = simulate(Scenario(A=2.0, duration_s=60.0, deltas_ticks=(1.0, 3.0, 6.0)), seed)
    frames = (log.orders, log.fills, log.state)
    rng, scale = np.random.default_rng(seed), 2.0**power
    changed = []
    for table in frames:
        new = {name: table[name] + 12_345 for name in table.columns if name.endswith("_ms")}
        new |= {name: table[name] * scale for name in ("price", "mid") if name in table}
        if "order_id" in table:
            new["order_id"] = "x" + table["order_id"].astype("str")
            table = table.iloc[rng.permutation(len(table))]
        changed.append(table.assign(**new))
    one = run_steps(log_from_frames([frames]), Settings.build({"TICK_SIZE": 1.0}))
    other = run_steps(log_from_frames([tuple(changed)]), Settings.build({"TICK_SIZE": scale}))  # type: ignore[list-item]
    assert one.estimate.fit is not None
    assert other.estimate.fit is not None
    assert (one.estimate.fit.A, one.estimate.fit.k) == (other.estimate.fit.A, other.estimate.fit.k)
    assert one.estimate.fit.cov == other.estimate.fit.cov
    assert one.verdict.status == other.verdict.status


# --- bytes nobody wrote ------------------------------------------------------------------------

TINY = Scenario(A=3.0, duration_s=6.0, state_gap_ms=100, deltas_ticks=(1.0, 3.0), ttl_ms=1500)
FUZZ = Settings.build({"SYMBOL": "AAA", "TICK_SIZE": 1.0, "MIN_FILLS": 2})
fuzzing = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SNIPPETS = [
    *(b"", b",", b"\n", b"\r\n", b'"', b"\0", b"\xff", b"\xef\xbb\xbf", b"-", b"e9", b"1e400"),
    *(b"nan", b"inf", b"None", b"\n\n\n", b",,,,,,,,", b"9" * 30, b"0", b".5", b"\xe2\x80\xa8"),
    *(b"PLACE", b"FILL", b"EXPIRE", b"CANCEL_ACK", b"SELL", b"recv_ms", b"order_id", b"mid"),
]


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, float, bytes, int]]:
    """(kind, where as a share of the file, bytes put there, how many are taken out)."""
    piece = st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=6))
    cut = st.sampled_from([0, 0, 1, 1, 2, 8, 60, 400, 100_000])
    edit = st.tuples(st.sampled_from(KINDS), st.floats(0, 1), piece, cut)
    return draw(st.lists(edit, min_size=1, max_size=5))


def changed(content: bytes, share: float, piece: bytes, cut: int) -> bytes:
    at = int(share * len(content))
    return content[:at] + piece + content[at + cut :]


@pytest.fixture(scope="module")
def tiny() -> dict[str, pd.DataFrame]:
    log = simulate(TINY, 7)
    return {"orders": log.orders, "fills": log.fills, "state": log.state}


def only_our_errors(folder: Path) -> BacktestLog | None:
    """Calibrate; any other error than ours goes through. What is let out is finite."""
    try:
        log = load_log(folder, "AAA")
        result = run_steps(log, FUZZ)
    except CalibrationError as error:
        text = str(error)
        assert "\n" not in text
        assert len(text) < 700
        return None
    if result.params is not None:
        assert np.isfinite(result.params.A)
        assert np.isfinite(result.params.k)
    return log


@fuzzing
@given(edits())
def test_any_bytes_in_csv_give_a_log_or_an_error_of_ours(
    tiny: dict[str, pd.DataFrame], tmp_path: Path, edits: list[tuple[str, float, bytes, int]]
) -> None:
    content = {kind: csv_bytes(table) for kind, table in tiny.items()}
    for kind, share, piece, cut in edits:
        content[kind] = changed(content[kind], share, piece, cut)
    for kind in KINDS:
        (tmp_path / f"{kind}_AAA.csv").write_bytes(content[kind])
    only_our_errors(tmp_path)


@fuzzing
@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.data())
def test_any_cell_may_hold_anything(
    tiny: dict[str, pd.DataFrame], tmp_path: Path, kind: str, place: int, data: st.DataObject
) -> None:
    text = data.draw(
        st.one_of(
            st.text(alphabet=st.characters(exclude_characters='",\r\n', codec="utf-8"), max_size=8),
            st.floats().map(repr),
            st.integers(-(10**20), 10**20).map(str),
        )
    )
    for name in KINDS:
        content = csv_bytes(tiny[name]).decode()
        if name == kind:
            lines = [line.split(",") for line in content.splitlines()]
            row = lines[1 + place % (len(lines) - 1)]
            row[(place // 7) % len(row)] = text
            content = "".join(",".join(line) + "\n" for line in lines)
        (tmp_path / f"{name}_AAA.csv").write_text(content, encoding="utf-8", newline="")
    only_our_errors(tmp_path)


@settings(fuzzing, max_examples=80)
@given(edits(), st.sampled_from([".csv.gz", ".parquet"]))
def test_any_bytes_in_packed_files_too(
    tiny: dict[str, pd.DataFrame],
    tmp_path: Path,
    edits: list[tuple[str, float, bytes, int]],
    suffix: str,
) -> None:
    content: dict[str, bytes] = {}
    for kind, table in tiny.items():
        if suffix == ".csv.gz":
            content[kind] = gzip.compress(csv_bytes(table), 1)
        else:
            content[kind] = table.to_parquet(index=False)
    for kind, share, piece, cut in edits:
        content[kind] = changed(content[kind], share, piece, cut)
    for path in tmp_path.iterdir():
        path.unlink()
    for kind in KINDS:
        (tmp_path / f"{kind}_AAA{suffix}").write_bytes(content[kind])
    only_our_errors(tmp_path)


ODD_VALUES: list[Any] = [None, np.nan, np.inf, -1, 0, 2**62, 1e300, "x", "", True, b"x", (1,), 1j]


@settings(fuzzing, max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.sampled_from(range(len(ODD_VALUES))))
def test_tables_in_memory_may_hold_any_object(
    tiny: dict[str, pd.DataFrame], kind: str, place: int, odd: int
) -> None:
    tables = {name: table.copy() for name, table in tiny.items()}
    name = tables[kind].columns[place % len(tables[kind].columns)]
    values = tables[kind][name].astype(object).tolist()
    values[(place // 11) % len(values)] = ODD_VALUES[odd]
    tables[kind][name] = pd.Series(values, dtype=object)
    try:
        run_steps(log_from_frames([tuple(tables[k] for k in KINDS)]), FUZZ)  # type: ignore[list-item]
    except CalibrationError:
        return
