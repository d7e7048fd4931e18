"""The page of all nights: its order, its drawings, and where its numbers come from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mm
from mm.core.formatting import span
from mm.core.policy import Policy
from mm.core.storage import Remote
from mm.pipeline import history
from mm.pipeline.books import write_books
from mm.pipeline.drift import NIGHTS, write_drift
from mm.registry.change import Offer, Signature, promote
from mm.registry.ledger import SCORES, Score
from mm.registry.store import digest, open_registry
from mm.report import compare
from mm.report.drift import render_drift
from mm.report.drift_panel import Course, Model, Night, Panel, drawing
from mm.results.params import Params
from mm.results.record import Record, params_name
from tests.support.browser import Page, chromium
from tests.support.html_checks import (
    assert_accessible,
    assert_good_in_browser,
    assert_headings_in_order,
    assert_self_contained,
)
from tests.support.records import HOSTILE, failed, record, results

NOW = datetime(2026, 11, 26, 6, tzinfo=UTC)
COV = (0.01, 0.0012, 0.0004)
NORMAL_95 = 1.959964


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def days(count: int) -> list[date]:
    return [(NOW - timedelta(days=count - 1 - i)).date() for i in range(count)]


def course(symbol: str = "AAA", count: int = 10, **more: Any) -> Course:
    """λ = 0.5 e^(-0.3 δ) on every night."""
    nights = tuple(Night(day, Model(0.5, 0.3, 1.0, COV)) for day in days(count))
    given = {"status": "ok", "reason": "", "codes": (), "nights": nights, "tick_size": 1.0}
    return Course(symbol=symbol, distances=(1.0, 2.0, 5.0), **{**given, **more})


def drawn(one: Course, count: int = 10) -> Panel:
    panel = drawing(one, days(count))
    assert panel is not None
    return panel


def places(path: str) -> list[list[tuple[float, float]]]:
    """The corners of each polyline of a path of absolute moves and relative lines."""
    found = []
    for part in re.findall(r"M([^M]*)", path):
        first, _, rest = part.partition("l")
        corners = [tuple(float(n) for n in re.findall(r"-?\d+", first))[:2]]
        steps = [float(n) for n in re.findall(r"-?\d+", rest)]
        for dx, dy in zip(steps[::2], steps[1::2], strict=True):
            corners.append((corners[-1][0] + dx, corners[-1][1] + dy))
        found.append(corners)
    return found  # type: ignore[return-value]


def headings(text: str) -> list[str]:
    found = re.findall(r"<h2>(.*?)</h2>", text, re.S)
    return [unescape(re.sub(r"<[^>]+>", "", heading)) for heading in found]


def symbols(text: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", x) for x in re.findall(r"<h3><bdi>(.*?)</bdi>", text, re.S)]


def words(text: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


def test_what_needs_a_person_comes_first_and_equal_causes_once() -> None:
    jump = (*course(count=9).nights, Night(days(10)[-1], Model(0.8, 0.3, 1.0, COV)))
    level = {"status": "warn", "codes": ("level",), "reason": "Levels differ by 2.1"}
    found = [
        course("CALM"),
        course("JUMPED", nights=jump),
        course("WARN", **level),
        course("WARN2", **{**level, "reason": "Levels differ by 3.4"}),
        course("MISSED", forecasts_line="3 of 9 missed", finding=True),
        course("STALE", status="stale", reason="its last row is 51 h old"),
        course("GONE", status="missing", reason="no files"),
        course("REFUSED", status="refused", reason="12 fills", codes=("few_fills",)),
        course("BAD1", status="failed", reason="orders_BAD1.csv, row 7: no number"),
        course("OTHER", status="failed", reason="the kernel died"),
        course("BAD2", status="failed", reason="orders_BAD2.csv, row 19: no number"),
        course("OLD", valid_until=NOW - timedelta(hours=36)),
        course("ALTERED", live_error="is not as it was registered"),
    ]
    text = render_drift(found, days(10), NOW)
    assert symbols(text) == [
        "ALTERED", "OLD", "BAD1", "BAD2", "OTHER", "REFUSED", "GONE", "STALE", "MISSED",
        "WARN", "WARN2", "JUMPED", "CALM",
    ]  # fmt: skip
    assert headings(text) == [
        "altered 1 symbol: what is live is not as it was registered",
        "expired 1 symbol: past valid_until",
        "failed 2 symbols: orders_BAD1.csv, row 7: no number",
        "failed 1 symbol: the kernel died",
        "refused 1 symbol: 12 fills",
        "missing 1 symbol: no files",
        "stale 1 symbol: its last row is 51 h old",
        "forecast 1 symbol: what is live does not forecast the fills that came",
        "warn 2 symbols: Levels differ by 2.1",
        "ok 2 symbols",
    ]
    said = words(text)
    assert "expired 1.5 days ago" in said
    assert "Levels differ by 3.4" in said, "a number of its own"
    assert said.count("Levels differ by 2.1") == 1
    assert "last move +60 % (+4.0 SE)" in said  # log 1.6 over sqrt 2 times its error at 2 ticks
    assert_headings_in_order(assert_self_contained(text, relative_links=True))


def test_a_line_is_λ_on_a_log_scale_and_its_band_the_interval() -> None:
    doubled = tuple(
        Night(day, Model(0.5 * (1 + (i >= 5)), 0.3, 1.0, COV)) for i, day in enumerate(days(10))
    )
    panel = drawn(course(nights=doubled))
    values = [(y, float(text.replace(",", ""))) for y, text in panel.ticks]
    (y0, v0), (y1, v1) = values[0], values[-1]
    per_log = (y1 - y0) / math.log(v0 / v1)
    for (band, line), delta in zip(panel.curves, (1.0, 2.0, 5.0), strict=True):
        (corners,), (outline,) = places(line), places(band)
        assert [x for x, _ in corners] == sorted(x for x, _ in corners)
        assert corners[4][1] - corners[5][1] == pytest.approx(per_log * math.log(2), abs=1.5)
        at = y0 + per_log * (math.log(v0) - math.log(3600 * 0.5 * math.exp(-0.3 * delta)))
        assert corners[0][1] == pytest.approx(at, abs=1.5)
        se = math.sqrt(COV[0] - 2 * delta * COV[1] + delta**2 * COV[2])
        assert corners[0][1] - outline[0][1] == pytest.approx(per_log * NORMAL_95 * se, abs=1.5)
        assert outline[-1][1] - corners[0][1] == pytest.approx(per_log * NORMAL_95 * se, abs=1.5)


def test_the_interval_is_that_of_the_index_whatever_its_quantile(tmp_path: Path) -> None:
    ci95 = {"A": [0.5, 2.0], "k": [0.3 - 2.3 * 0.02, 0.3 + 2.3 * 0.02]}
    found = record(ci95=ci95)
    for i in range(2):
        history.add(tmp_path, {"AAA": found}, NOW - timedelta(days=i))
    write_drift(tmp_path, tmp_path / "registry", tmp_path, NOW)
    rate = compare.rate(found, 2.0)
    assert rate is not None
    assert rate.ends is not None
    told = span(3600 * rate.ends[0], 3600 * rate.ends[1])
    assert f"<td>{told}</td>" in (tmp_path / "drift.html").read_text(encoding="utf-8")


def test_a_line_is_broken_where_a_night_has_no_parameters() -> None:
    nights = [replace(night, model=None) if i in (3, 4, 9) else night
              for i, night in enumerate(course().nights)]  # fmt: skip
    del nights[6]
    panel = drawn(course(nights=tuple(nights[1:])))
    for _, line in panel.curves:
        assert [len(part) for part in places(line)] == [2, 1, 2], "1-2, 5, 7-8"
    assert panel.gaps.count("M") == 4, "3, 4, 6, 9; before its first night there was no symbol"
    assert "4 of 10 nights without a result" in panel.description


def test_what_is_live_stands_from_its_promotion_on_and_misses_have_another_mark() -> None:
    of = days(10)
    live, offered = Model(0.4, 0.3, 1.0), Model(0.7, 0.3, 1.0)
    since = datetime(of[4].year, of[4].month, of[4].day, 7, tzinfo=UTC)
    one = course(live=live, live_since=since, candidate=offered)
    forecasts = ((of[1], False), (of[2], True), (of[3], False), (of[3], True))
    panel = drawn(replace(one, forecasts=forecasts))
    (corners,) = places(panel.curves[0][1])
    starts = [int(x) for x in re.findall(r"M(\d+) ", panel.live)]
    assert starts == [corners[4][0]] * 3
    assert panel.candidate.count("M") == 3
    assert panel.hits.count("h0") == 1, "of two scores of one night the last one"
    assert panel.misses.count("M") == 2
    said = words(render_drift([one], of, NOW))
    assert f"live since {of[4]}" in said
    assert "candidate +75 % against live" in said
    assert f" {3600 * 0.4 * math.exp(-0.3):,.0f} " in said
    assert not drawn(course()).live


def test_a_new_tick_size_is_no_move() -> None:
    finer = tuple(
        Night(night.day, Model(0.5, 0.15, 0.5, COV)) if i < 9 else night
        for i, night in enumerate(course().nights)
    )
    said = words(render_drift([course(nights=finer)], days(10), NOW))
    assert "last move none" in said


def test_one_estimate_and_none() -> None:
    text = render_drift(
        [course("ONE", nights=course().nights[-1:]), course("NONE", nights=())], days(10), NOW
    )
    assert "first estimate" in words(text)
    assert text.count("<article>") == 2
    assert text.count('role="img"') == 1


def test_hostile_names_and_reasons_are_text(browser: Page, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "AAA").mkdir(parents=True)
    for folder, name in ((out / "AAA", "AAA"), (tmp_path, ".."), (out, "")):
        (folder / f"report_{name}.html").write_text("x")
    found = {name: record(status="warn", reasons=(name,)) for name in HOSTILE}
    for i in range(2):
        history.add(out, {**found, "": record(), "AAA": record()}, NOW - timedelta(days=i))
    write_drift(out, out / "registry", out, NOW)
    page = (out / "drift.html").read_text(encoding="utf-8")
    assert_self_contained(page, relative_links=True)
    browser.screen(390, 844).open(out / "drift.html")
    assert browser.complaints == []
    assert browser.outside == []
    assert browser.js("document.title") != "owned"
    assert browser.js("document.querySelectorAll('img').length") == 0
    links = browser.js("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert links == ["index.html", "AAA/report_AAA.html"], "nothing outside of the folder"
    names = browser.js("[...document.querySelectorAll('h3 bdi')].map(c => c.textContent)")
    expected = sorted(" ".join(name.split()) for name in (*HOSTILE, "", "AAA"))
    assert sorted(" ".join(name.split()) for name in names) == expected
    assert browser.js("document.documentElement.scrollWidth") <= 390


def _shown(count: int) -> list[Course]:
    of = days(10)
    kinds: list[Mapping[str, Any]] = [
        {},
        {"status": "failed", "reason": "orders.csv, row 7: no number", "has_report": True},
        {"status": "warn", "codes": ("level",), "reason": "Levels differ", "has_report": True},
        {"live": Model(0.4, 0.3, 1.0), "candidate": Model(0.6, 0.3, 1.0), "live_since": NOW},
        {"forecasts": ((of[1], True), (of[2], False)), "forecasts_line": "1 of 2 missed"},
        {"status": "missing", "nights": (*course().nights[:8], Night(of[9], None))},
    ]
    return [course(f"SYM{i:03d}USDT", **kinds[i % 6]) for i in range(count)]


def test_nobody_is_barred_from_the_page(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "drift.html"
    path.write_text(render_drift(_shown(18), days(10), NOW), encoding="utf-8")
    assert_accessible(browser, path)
    assert_good_in_browser(browser, path)


@pytest.mark.parametrize("width", [360, 390, 820, 1200, 1600])
def test_no_panel_runs_out_of_the_screen(width: int, browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "drift.html"
    path.write_text(render_drift(_shown(18), days(10), NOW), encoding="utf-8")
    browser.screen(width, 800).open(path)
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.js(
        "[...document.querySelectorAll('article')].every(a => a.clientWidth > 250)"
    ), "narrower ones can't be read"


def test_panels_on_paper_stand_three_in_a_row(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "drift.html"
    path.write_text(render_drift(_shown(7), days(10), NOW), encoding="utf-8")
    browser.screen(700)
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.open(path)
    widths = browser.js("[...document.querySelectorAll('article')].map(a => a.offsetWidth)")
    assert len(widths) == 7
    assert all(200 < width < 700 / 3 for width in widths)


def test_the_last_60_nights_are_shown(tmp_path: Path) -> None:
    for i in range(NIGHTS + 2):
        found = {"AAA": record()} | ({"GONE": record()} if i < 2 else {})
        history.add(tmp_path, found, NOW - timedelta(days=NIGHTS + 1 - i))
    write_drift(tmp_path, tmp_path / "registry", tmp_path, NOW)
    text = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert f"{NIGHTS} nights from 2026-09-28 to 2026-11-26" in text
    assert symbols(text) == ["AAA"]


def test_a_thousand_symbols_are_a_page_that_can_be_sent() -> None:
    rows = days(NIGHTS)
    walk = np.cumsum(np.random.default_rng(1).normal(0.0, 0.06, (NIGHTS, 2)), axis=0)
    moving = [
        Night(day, Model(0.5 * math.exp(a), 0.3 + 0.05 * k, 1.0, COV))
        for day, (a, k) in zip(rows, walk, strict=True)
    ]
    fared = tuple((day, i % 9 == 0) for i, day in enumerate(rows))
    one = {"nights": tuple(moving), "live": Model(0.4, 0.3, 1.0), "forecasts": fared}
    found_all = [course(f"SYM{s:04d}USDT", **one, has_report=True) for s in range(1000)]
    assert len(render_drift(found_all, rows, NOW).encode()) < 4_000_000


def test_a_first_night_has_no_page_and_a_second_has(tmp_path: Path) -> None:
    (tmp_path / "drift.html").write_text("of a history that is lost")
    where = (tmp_path, tmp_path / "registry", tmp_path)
    write_drift(*where, NOW)
    assert not (tmp_path / "drift.html").exists(), "no history"
    before = NOW - timedelta(days=1)
    for when in (before - timedelta(hours=1), before):
        history.add(tmp_path, {"AAA": record(1.0), "BBB": record()}, when)
    write_drift(*where, NOW)
    assert not (tmp_path / "drift.html").exists(), "two batches of one night"
    results(tmp_path, "AAA")
    (tmp_path / ".state").mkdir()
    books = {"AAA": record(1.5), "BBB": failed("no number")}
    write_books(tmp_path, books, books)
    history.add(tmp_path, books, NOW)
    write_drift(*where, NOW)
    text = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert symbols(text) == ["BBB", "AAA"]
    assert re.findall(r'href="([^"]+)"', text) == ["index.html", "AAA/report_AAA.html"]
    said = words(text)
    assert "2 nights from 2026-11-25 to 2026-11-26" in said
    assert f"1 tick {3600 * 1.5 * math.exp(-0.3):,.0f}"[:9] in said
    assert "last move +50 %" in said
    assert not (tmp_path / "registry").exists()

    there = tmp_path / "scratch"
    (there / ".state").mkdir(parents=True)
    write_books(there, books, books)
    far = Remote.of(f"file://{tmp_path}")
    write_drift(far, far / "registry", there, NOW)
    assert symbols((there / "drift.html").read_text(encoding="utf-8")) == ["BBB", "AAA"]


@pytest.fixture(scope="module")
def params(tables: Mapping[str, pd.DataFrame]) -> Params:
    found = mm.calibrate(**tables, tick_size=1.0, symbol="AAA").params
    assert found is not None
    return found


def _score(symbol: str, version: str, end: int, seen: int) -> str:
    return Score(
        symbol=symbol, version=version, registered_utc="2026-11-01T00:00:00+00:00",
        prospective=True, window_ms=(end - 1000, end), inputs_sha256={}, seen=seen, expected=100.0,
        interval=(80, 120), z=0.0, number=(0.5, 0.5), space=None, gain_constant=None,
        gain_previous=None, levels=(),
    ).model_dump_json()  # fmt: skip


def test_live_candidate_and_forecasts_are_those_of_the_registry(
    params: Params, tmp_path: Path
) -> None:
    def offer(number: Params) -> Offer:
        text = number.to_json()
        return Offer(record(outputs={params_name("AAA"): digest(text)}), text)

    until = (NOW + timedelta(days=2)).isoformat()
    live = params.model_copy(update={"valid_until": until})
    newer = params.model_copy(update={"A": 1.5 * params.A})
    when = NOW - timedelta(days=3)
    with open_registry(tmp_path / "registry") as registry:
        promote(registry, {"AAA": offer(live)}, Policy(), Signature("me", "", when))
        promote(
            registry, {"AAA": offer(newer)}, Policy(), Signature("me", "", NOW), only_offer=True
        )
        version = registry.live()["AAA"]
        for i, seen in enumerate((100, 150, 151, 152)):
            end = 1_000_000 * (i + 1)
            registry.append(SCORES, _score("AAA", version, end, seen))
            found = {"AAA": record(params.A, params.k, tick_size=1.0, window_ms=(0, end))}
            history.add(tmp_path, found, NOW - timedelta(days=3 - i))
        registry.append(SCORES, _score("AAA", version, 7, 100))
        registry.append(SCORES, _score("AAA", version, 8, 10))
        registry.append(SCORES, _score("AAA", version, 9, 10))
        registry.append(SCORES, _score("AAA", version, 10, 10))
    write_drift(tmp_path, tmp_path / "registry", tmp_path, NOW)
    text = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert headings(text)[0].startswith("forecast 1 symbol")
    said = words(text)
    assert "live since 2026-11-23" in said
    assert "2.0 days left" in said
    assert "candidate +50 %" in said
    assert "6 of 8 missed" in said
    article = text.split("<article>")[1]
    (hits,) = re.findall(r'class="hit" d="([^"]+)"', article)
    (misses,) = re.findall(r'class="miss" d="([^"]+)"', article)
    assert (hits.count("h0"), misses.count("M")) == (1, 3), "those whose log a night had"

    path = next((tmp_path / "registry" / "versions" / "AAA").glob(f"{version}.json"))
    path.write_text("{}")
    write_drift(tmp_path, tmp_path / "registry", tmp_path, NOW)
    text = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert headings(text)[0].startswith(
        "altered 1 symbol: what is live is not as it was registered"
    )


def test_what_is_live_and_in_no_batch_is_missing(params: Params, tmp_path: Path) -> None:
    text = params.to_json()
    offer = Offer(record(outputs={params_name("AAA"): digest(text)}), text)
    with open_registry(tmp_path / "registry") as registry:
        promote(registry, {"AAA": offer}, Policy(), Signature("me", "", NOW))
    for i in range(2):
        history.add(tmp_path, {"BBB": Record(status="refused")}, NOW - timedelta(days=i))
    write_drift(tmp_path, tmp_path / "registry", tmp_path, NOW)
    found = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert symbols(found) == ["BBB", "AAA"]
    assert "missing 1 symbol: live, and in no batch of these nights" in headings(found)
