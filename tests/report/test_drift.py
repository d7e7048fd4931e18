"""The drift page: every symbol over the nights, what needs a person first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mm.core.policy import Policy
from mm.pipeline.books import write_books
from mm.pipeline.drift import write_drift
from mm.pipeline.history import add
from mm.registry.change import Offer, Signature, promote
from mm.registry.ledger import SCORES
from mm.registry.store import REGISTRY, open_registry
from mm.report.drift import DRIFT_NAME, Drift, Forecast, Night, render_drift
from tests.support.browser import Page, chromium
from tests.support.html_checks import (
    assert_accessible,
    assert_headings_in_order,
    assert_self_contained,
)
from tests.support.records import HIT, HOSTILE, failed, record

NOW = datetime(2026, 11, 26, 6, tzinfo=UTC)
COV = (0.01, 0.0012, 0.0004)
FAR = [(1.0, "1 tick"), (5.0, "5 ticks")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def night(before: int, A: float | None = 1.0, **more: object) -> Night:
    fields = {"status": "ok", "A": A, "k": 0.3, "tick_size": 1.0, "cov": COV} | more
    return Night(NOW - timedelta(days=before), **fields)


def test_rates_are_those_of_a_price_whatever_the_tick() -> None:
    one, half = night(1), night(1, k=0.15, tick_size=0.5, cov=(0.01, 0.0006, 0.0001))
    for distance in (0.0, 2.0):
        rates = one.rate(distance), half.rate(distance)
        assert rates[0] == pytest.approx(rates[1])
    rate = one.rate(2.0)
    assert rate is not None
    se = math.sqrt(0.01 - 2 * 2.0 * 0.0012 + 4.0 * 0.0004)
    expected = 3600 * math.exp(-0.6)
    assert rate == pytest.approx([expected * math.exp(1.959964 * z * se) for z in (0, -1, 1)])
    assert night(1, A=None).rate(1.0) is None


def test_what_needs_a_person_comes_first_under_one_heading_each() -> None:
    nights = [night(2), night(1)]
    symbols = [
        Drift("FINE", nights, FAR),
        Drift("MISSES", nights, FAR, trouble="the last 3 forecasts missed"),
        Drift("EXPIRED", nights, FAR, live=night(2), live_until=NOW - timedelta(hours=1)),
        Drift("WARNED", [night(1, status="warn")], FAR),
        Drift("GONE", [*nights, night(0, None, status="missing")], FAR),
        Drift("ALSO", nights, FAR),
    ]
    page = render_drift(symbols, NOW)
    order = ["GONE", "EXPIRED", "MISSES", "WARNED", "ALSO", "FINE"]
    assert sorted(order, key=lambda name: page.index(f"<bdi>{name}</bdi>")) == order
    assert page.count("<h2>") == 5, "both that are ok under one"
    assert "expired 60 min ago" in page
    assert "no λ in the last night" in page


def test_lines_break_where_a_night_has_no_estimate() -> None:
    nights = [night(4), night(3), night(2, None, status="refused"), night(1), night(0)]
    page = render_drift([Drift("AAA", nights, FAR[:1], forecasts=[Forecast(NOW, hit=False)])], NOW)
    (line,) = (part for part in page.split("<path ") if part.startswith('class="line" d="M8'))
    assert line.count("M") == 2
    assert "1 of 1 forecasts missed" in page


@pytest.mark.parametrize("symbols", [[*HOSTILE], ["AAA"], []])
def test_it_is_good_in_a_browser_without_a_script(
    symbols: list[str], browser: Page, tmp_path: Path
) -> None:
    text = render_drift([Drift(name, [night(0)], FAR, trouble=name) for name in symbols], NOW)
    assert_headings_in_order(assert_self_contained(text, relative_links=True))
    assert "<script" not in text
    path = tmp_path / DRIFT_NAME
    path.write_text(text, encoding="utf-8")
    assert_accessible(browser, path)
    assert browser.js("document.querySelectorAll('section').length") == len(symbols)
    for width in (360, 390, 820, 1200):
        browser.screen(width, 800).open(path)
        assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.complaints == browser.outside == []


def test_it_follows_the_history_the_books_and_the_registry(tmp_path: Path) -> None:
    (tmp_path / ".state").mkdir()
    write_drift(tmp_path, NOW)
    assert not (tmp_path / DRIFT_NAME).exists(), "no history, no page"
    for before in (2, 1, 0):
        found = record(A=1.0 + before, finished_utc=f"2026-11-2{6 - before}T05:00:00+00:00")
        books = {"AAA": found, "BBB": failed()}
        write_books(tmp_path, books, books)
        add(tmp_path, books, NOW - timedelta(days=before))
    add(tmp_path, {"AAA": found}, NOW + timedelta(hours=1))  # once more, nothing is new
    with open_registry(tmp_path / REGISTRY) as registry:
        promote(registry, {"BBB": Offer(failed(), None)}, Policy(), Signature("me", "", NOW))
        score = HIT.model_copy(update={"window_ms": (0, int(NOW.timestamp() * 1000))})
        registry.append(SCORES, score.model_dump_json())
    write_drift(tmp_path, NOW)
    page = (tmp_path / DRIFT_NAME).read_text(encoding="utf-8")
    assert page.index("<bdi>BBB</bdi>") < page.index("<bdi>AAA</bdi>")
    assert "over 3 nights" in page
    assert "0 of 1 forecasts missed" in page
    assert "nothing is live" in page


def test_a_thousand_symbols_are_one_page_of_a_few_megabytes() -> None:
    nights = [night(before, 1.0 + 0.01 * before) for before in range(59, -1, -1)]
    page = render_drift([Drift(f"S{i}", nights, [*FAR, FAR[0]]) for i in range(1000)], NOW)
    assert len(page) < 6_000_000
