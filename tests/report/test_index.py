"""The page of all symbols: its order, numbers and links, and its life in a real Chromium."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest

from mm.report import compare
from mm.report.index import render_index
from mm.report.spark import drawing, read_points
from mm.results.record import Record
from tests.support.browser import Page, chromium
from tests.support.html_checks import (
    assert_accessible,
    assert_good_in_browser,
    assert_headings_in_order,
    assert_self_contained,
)
from tests.support.records import HOSTILE, failed, record, results

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def _rows(text: str) -> list[str]:
    body = text.split("<tbody>")[1].split("</tbody>")[0]
    return [
        re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip()
        for row in re.findall(r"<tr.*?</tr>", body, re.S)
    ]


def _symbols(text: str) -> list[str]:
    return [row.split()[0] for row in _rows(text)]


def _many(count: int) -> dict[str, Record]:
    kinds = [
        lambda i: record(1 + i / 100, 0.1 + i / 1000, n_fills=100 + i),
        lambda i: record(2 + i / 100, status="warn", reasons=(f"Reason {i} of some length",)),
        lambda i: Record(status="refused", reasons=("Too few fills",), n_fills=3),
        lambda _: failed(),
    ]
    return {f"SYM{i:03d}USDT": kinds[i % 4 if i % 10 else 0](i) for i in range(count)}  # type: ignore[no-untyped-call]


def _old(status: str) -> dict[str, object]:
    return {"age_s": 51 * 3600.0, "status": status, "limit_s": 50 * 3600.0}


def test_what_needs_a_person_comes_first(tmp_path: Path) -> None:
    records = {
        "OK": record(),
        "WARN": record(status="warn", reasons=("Odd. Because. Do this",)),
        "REFUSED": Record(status="refused", reasons=("No fit",)),
        "FAILED": failed(),
        "OLD": record(status="warn", finished_utc="2026-11-20T00:00:00+00:00"),
        "GONE": record(status="missing", window_ms=(0, 1_763_856_000_000)),
        "NEVER": Record(status="missing"),
        "STALE": record(status="stale", freshness=_old("error")),
        "SAME": record(log="unchanged", freshness=_old("pass")),
        "HALF": record(log="smaller", spans_s={"state": 3600.0, "orders": 7000.0}),
    }
    before = {"HALF": record(spans_s={"state": 7300.0, "orders": 7200.0})}
    ran = [symbol for symbol in records if symbol != "OLD"]
    text = render_index(records, tmp_path, before, this_run=ran, now=NOW)
    order = ["FAILED", "REFUSED", "GONE", "NEVER", "STALE", "OLD", "WARN", "HALF", "SAME", "OK"]
    assert _symbols(text) == order
    rows = dict(zip(_symbols(text), _rows(text), strict=True))
    assert "of 2026-11-20 00:00 UTC, not in this run" in rows["OLD"]
    assert "not in this run" not in rows["WARN"]
    assert "Odd" in rows["WARN"]
    assert "Because" not in rows["WARN"]
    assert "missing no files; figures of data until 2025-11-23 00:00 UTC" in rows["GONE"]
    assert "missing no files; no older figures" in rows["NEVER"]
    assert "stale its last row is 51 h old, error_after is 50 h" in rows["STALE"]
    assert "the same log as in the batch before, its last row is 51 h old" in rows["SAME"]
    smaller = "a much smaller log: state cover 60.0 min, in the batch before 2.0 h"
    assert smaller in rows["HALF"]
    morning = (
        "new 3, unchanged 1, missing 2, stale 1, refused 1, failed 1, much smaller 1, "
        "oldest data 51 h"
    )
    assert f"<title>Fill calibration: {morning}<" in text
    assert f'<p class="morning">{morning}</p>' in text


def test_a_page_loads_nothing_and_its_script_is_allowed_by_its_hash(tmp_path: Path) -> None:
    page = assert_self_contained(render_index(_many(8), tmp_path, now=NOW), relative_links=True)
    assert_headings_in_order(page)
    assert len(page.all("script")) == 1


def test_links_lead_to_files_that_are_there(tmp_path: Path) -> None:
    for symbol in ("AAA", "B+B"):
        results(tmp_path, symbol)
    (tmp_path / "AAA" / "params_AAA.json").unlink()
    text = render_index({s: record() for s in ("AAA", "B+B", "NONE")}, tmp_path, now=NOW)
    links = re.findall(r'href="([^"]+)"', text)
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert len(links) == 2 + 3


def test_numbers_are_those_of_the_records(tmp_path: Path) -> None:
    records = {"AAA": record(2.0, 0.5), "BBB": record(1.0, 0.3)}
    previous = {"AAA": record(1.0, 0.5), "BBB": record(1.0, 0.3)}
    rows = _rows(render_index(records, tmp_path, previous, now=NOW))
    assert str(compare.common_distance(records.values())) == "3 ticks"
    assert f"{round(3600 * 2.0 * math.exp(-1.5), -1):,.0f}" in rows[0]
    assert "2.00 1.64–2.43" in rows[0]
    assert "0.500" in rows[0]
    assert "+100 %" in rows[0]
    assert "same data" in rows[1]


def test_the_interval_at_a_distance_is_that_of_the_fit() -> None:
    fit = record(1.5, 0.3)
    assert fit.lambda_at is not None
    found = compare.rate(fit, fit.lambda_at.delta_star)
    assert found is not None
    assert found.ends is not None
    assert found.value == pytest.approx(fit.lambda_at.intensity)
    assert found.ends == pytest.approx(fit.lambda_at.ci95, rel=1e-6)


def test_a_change_is_told_in_its_own_standard_error() -> None:
    now, then = record(1.1, 0.3), record(1.0, 0.3)
    change = compare.change_of(now, then)
    assert change is not None
    assert change.z is not None
    assert change.ratio == pytest.approx(1.1)
    se = math.sqrt(0.01 - 0.0012**2 / 0.0004)
    assert change.z == pytest.approx(math.log(1.1) / (math.sqrt(2) * se))
    assert not change.news
    back = compare.change_of(then, now)
    assert back is not None
    assert back.z == pytest.approx(-change.z, rel=1e-6)


def test_a_new_tick_size_alone_is_no_change() -> None:
    now, then = record(1.0, 0.3, tick_size=1.0), record(1.0, 0.15, tick_size=0.5)
    change = compare.change_of(now, then)
    assert change is not None
    assert change.ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("stars", "distance"), [([0.2], 0.5), ([2.4, 2.6, 9.0], 2.5), ([14.4], 14.0), ([73.0], 75.0)]
)
def test_the_common_distance_is_one_that_people_say(stars: list[float], distance: float) -> None:
    at = {"lambda": 0.1, "ci95": [0.05, 0.2]}
    records = [record(lambda_at={"delta_star": star, **at}) for star in stars]
    assert compare.common_distance([*records, failed()]) == compare.Distance(distance, "ticks")


def test_symbols_are_compared_at_basis_points_of_mid_where_mids_are_known() -> None:
    at = {"lambda": 0.1, "ci95": [0.05, 0.2]}
    one = record(mid=50_000.0, tick_size=1.0, lambda_at={"delta_star": 4.0, **at})  # 0.8 bps
    two = record(mid=2_000.0, tick_size=0.1, lambda_at={"delta_star": 2.0, **at})  # 1 bps
    distance = compare.common_distance([one, two])
    assert str(distance) == "0.9 bps"
    assert distance is not None
    assert distance.ticks(one) == pytest.approx(4.5)
    assert distance.ticks(two) == pytest.approx(1.8)
    assert compare.rate(two, distance) == compare.rate(two, distance.ticks(two))
    assert distance.ticks(failed()) is None
    assert compare.rate(failed(), distance) is None


def test_no_estimate_no_distance(tmp_path: Path) -> None:
    assert compare.common_distance([failed()]) is None
    assert "– – – – – new –" in _rows(render_index({"A": failed()}, tmp_path))[0]


def test_the_drawing_is_described_and_stands_within_its_frame(tmp_path: Path) -> None:
    results(tmp_path, "AAA")
    points = read_points(tmp_path / "AAA" / "points_AAA.csv")
    assert points == [(0.5, 0.9), (1.5, 0.6)]
    drawn = drawing(record(), points)
    assert drawn is not None
    words = "2 observed intensities, from 3,240 fills per hour at 0.5 ticks to 2,160 at 1.5"
    assert words in drawn.description
    places = re.findall(r"[ML](-?\d+) (-?\d+)", drawn.fit + drawn.dots)
    assert len(places) == 4
    assert all(0 <= int(x) <= 132 and 0 <= int(y) <= 46 for x, y in places)
    assert drawing(failed(), []) is None
    assert read_points(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_reasons_are_text(text: str, browser: Page, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.html").write_text("x")
    records = {text: record(status="warn", reasons=(text,)), "AAA": failed(error=text)}
    records[f"{text}2"] = Record(status="missing")
    page = render_index(records, out, now=NOW)
    assert_self_contained(page, relative_links=True)
    path = out / "index.html"
    path.write_text(page, encoding="utf-8")
    browser.screen(390, 844).open(path)
    assert browser.complaints == []
    assert browser.outside == []
    assert browser.js("document.title") != "owned"
    assert browser.js("document.querySelectorAll('img, a').length") == 0
    names = browser.js("[...document.querySelectorAll('tbody th')].map(c => c.textContent)")
    assert sorted(" ".join(n.split()) for n in names) == sorted(
        " ".join(n.split()) for n in (text, "AAA", f"{text}2")
    )
    assert browser.js("document.documentElement.scrollWidth") <= 390


def test_500_symbols_are_good_in_chromium_and_sort_and_filter(
    browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / "index.html"
    path.write_text(render_index(_many(500), tmp_path, now=NOW), encoding="utf-8")
    assert path.stat().st_size < 1_000_000
    assert_good_in_browser(browser, path)
    # Paper is as narrow as a small tablet, and takes lines rather than a tablet's cards.
    assert len(re.findall(rb"/Type\s*/Page\b", browser.screen(1366).open(path).pdf())) < 20
    shown = "[...document.querySelectorAll('tbody tr:not([hidden])')]"
    fills = f"{shown}.map(r => Number(r.cells[6].dataset.v))"
    click = "document.querySelectorAll('thead th')[{}].querySelector('button').click()"
    first = "document.querySelector('tbody tr').cells[0].textContent"

    assert browser.js(f"{shown}.length") == 500
    browser.js(click.format(6))
    numbers = [n for n in browser.js(fills) if n is not None]
    assert numbers == sorted(numbers, reverse=True)
    assert browser.js("document.querySelectorAll('thead th')[6].ariaSort") == "descending"
    last = browser.js("document.querySelector('tbody tr:last-child').cells[6].textContent")
    assert last == "–"
    browser.js(click.format(6))
    numbers = [n for n in browser.js(fills) if n is not None]
    assert numbers == sorted(numbers)
    browser.js(click.format(0))
    assert browser.js(first) == "SYM000USDT"
    browser.js(click.format(0))
    assert browser.js(first) == "SYM499USDT"
    browser.js(click.format(1))
    assert browser.js("document.querySelector('tbody tr').className") == "failed"

    typed = "{{const s = document.querySelector('#tools input'); s.value = '{}';"
    typed += "s.dispatchEvent(new Event('input'))}}"
    browser.js(typed.format("sym12"))
    assert browser.js(f"{shown}.length") == 10
    assert browser.js("document.querySelector('[role=status]').textContent") == "10 of 500 shown"
    browser.js(typed.format(""))
    browser.js("document.querySelector('#tools input[value=failed]').click()")
    assert browser.js(f"{shown}.some(r => r.className === 'failed')") is False
    assert browser.complaints == []


def test_nobody_is_barred_from_the_page(browser: Page, tmp_path: Path) -> None:
    symbols = _many(12) | {
        "GONE": Record(status="missing"),
        "SAME": record(log="unchanged", freshness=_old("pass")),
    }
    for symbol in list(symbols)[::2]:
        results(tmp_path, symbol)
    path = tmp_path / "index.html"
    previous = dict(list(symbols.items())[::3])
    path.write_text(render_index(symbols, tmp_path, previous, now=NOW), encoding="utf-8")
    assert_accessible(browser, path)


@pytest.mark.parametrize("width", [360, 390, 768, 820, 900, 1024, 1200, 1280, 1600])
def test_no_line_of_500_runs_out_of_the_screen(width: int, browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(render_index(_many(500), tmp_path, now=NOW), encoding="utf-8")
    browser.screen(width, 800).open(path)
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert (
        browser.js("(s => s.scrollWidth - s.clientWidth)(document.querySelector('.scroll'))") <= 0
    )
    heads = browser.js("document.querySelector('thead').getClientRects().length > 0")
    listed = browser.js("document.querySelector('select').getClientRects().length > 0")
    assert heads != listed  # one way to sort on every screen


def test_a_phone_sorts_by_a_list(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(render_index(_many(40), tmp_path, now=NOW), encoding="utf-8")
    browser.screen(390, 844).open(path)
    assert browser.js("document.documentElement.scrollHeight") < 400 + 40 * 90
    names = "[...document.querySelectorAll('tbody th')].map(c => c.textContent)"
    before = browser.js(names)
    pick = "{{const s = document.querySelector('select'); s.value = '{}';"
    pick += "s.dispatchEvent(new Event('change'))}}"
    browser.js(pick.format(0))
    assert browser.js(names) == sorted(before)
    browser.js(pick.format(6))
    fills = browser.js("[...document.querySelectorAll('tbody tr')].map(r => r.cells[6].dataset.v)")
    numbers = [int(n) for n in fills if n is not None]
    assert numbers == sorted(numbers, reverse=True)
    browser.js(pick.format(""))
    assert browser.js(names) == before


def test_without_a_script_the_page_is_whole(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(render_index(_many(12), tmp_path, now=NOW), encoding="utf-8")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.screen(1366).call("Page.navigate", url="about:blank")
        browser.open(path)
        assert browser.js("document.querySelectorAll('tbody tr').length") == 12
        assert browser.js("document.querySelectorAll('button, input').length") == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_drift_stands_with_its_symbol_unless_the_last_move_says_it(tmp_path: Path) -> None:
    told = "λ +27 % (+4.1 SE) since 2026-01-09"
    records = {"CALM": record(), "SLOW": record(drift=told), "STEP": record(2.4, drift=told)}
    before = dict.fromkeys(records, record())
    rows = {row.split()[0]: row for row in _rows(render_index(records, tmp_path, before, now=NOW))}
    said = [(symbol, told in row) for symbol, row in rows.items()]
    assert said == [("SLOW", True), ("STEP", False), ("CALM", False)]
