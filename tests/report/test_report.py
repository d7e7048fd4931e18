"""The report of one symbol and the page of one that failed, as files and in a real Chromium."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pandas as pd
import pytest

from mm.core import display
from mm.pipeline.books import read_books
from mm.report.arrange import outcome_in
from mm.report.clean import clean
from mm.report.failure import readable, render_failure
from mm.report.formula import to_mathml
from mm.report.page import markdown, render_report
from mm.report.top import facts, figure_caption, fills_per_hour, replay
from mm.results.record import Record, notebook_name
from tests.support.browser import Page, chromium
from tests.support.html_checks import (
    assert_accessible,
    assert_good_in_browser,
    assert_headings_in_order,
    assert_self_contained,
)
from tests.support.records import HOSTILE, failed, record

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory,
    root: Path,
    tables: Tables,
    write_run: Callable[..., Path],
) -> tuple[Path, dict[str, Record]]:
    """A folder with three symbols: one estimate, one refusal, one failure."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out")
    write_run(data, tables, "AAA")
    write_run(data, tables, "FEW")
    (data / "calibration.yaml").write_text("symbols: {FEW: {MIN_FILLS: 100000}}\n")
    write_run(data, {**tables, "state": tables["state"].rename(columns={"mid": "middle"})}, "BAD")
    command = [sys.executable, "run_calibration.py", "--data-dir", data, "--out-dir", out]
    subprocess.run([*map(str, command), "-p", "TICK_SIZE", "1.0"], cwd=root, check=False)
    records = read_books(out)
    assert records["AAA"].status in ("ok", "warn")
    assert [records[s].status for s in ("FEW", "BAD")] == ["refused", "failed"]
    return out, records


def _report(results: tuple[Path, dict[str, Record]], symbol: str) -> str:
    out, records = results
    return render_report(out / symbol / notebook_name(symbol), record=records[symbol])


@pytest.mark.parametrize("symbol", ["AAA", "FEW", "BAD"])
def test_a_report_is_one_file_that_loads_nothing(
    results: tuple[Path, dict[str, Record]], symbol: str
) -> None:
    text = _report(results, symbol)
    page = assert_self_contained(text)
    assert_headings_in_order(page)
    assert not page.all("script")
    assert len(text.encode()) <= 300_000
    assert not re.search(r"<pre[^>]*>\s*(ok|warn|refused)", text), "the outcome is for machines"
    assert re.search(rf"<title>[^<]*{symbol}", text)
    assert re.search(rf"<h1>(<bdi>)?{symbol} fill calibration", text)


@pytest.mark.parametrize("symbol", ["AAA", "FEW", "BAD"])
def test_a_report_is_good_in_chromium(
    results: tuple[Path, dict[str, Record]], symbol: str, browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / f"report_{symbol}.html"
    path.write_text(_report(results, symbol), encoding="utf-8")
    assert_good_in_browser(browser, path)
    assert_accessible(browser, path)
    browser.screen(1366).open(path)
    assert browser.js("document.scripts.length") == 0
    assert browser.js("document.querySelectorAll('.formula-source').length") == 0
    formulas = browser.js(
        "[...document.querySelectorAll('math')].map(m => [m.namespaceURI,"
        " m.getBoundingClientRect().height])"
    )
    if symbol != "BAD":
        assert len(formulas) > 5
        assert all("MathML" in space and height > 5 for space, height in formulas)


def test_the_first_screen_holds_what_decides(
    results: tuple[Path, dict[str, Record]], browser: Page, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(_report(results, "AAA"), encoding="utf-8")
    browser.screen(1366, 800).open(path)
    tops = browser.js(
        "['.verdict', '.facts', '.first table', '.first figure img']"
        ".map(s => document.querySelector(s).getBoundingClientRect())"
        ".map(r => [Math.round(r.top), Math.round(r.bottom)])"
    )
    assert all(0 <= top < bottom <= 800 for top, bottom in tops), tops
    told = browser.js("document.querySelector('main').innerText").split("Provenance")[0]
    for words in (
        "recorded trades",
        "UTC",
        "of the market",
        "old\nFills from",
        "bps",
        "95 % interval",
        "observed",
        "placed at",
        "For your backtester",
    ):
        assert words in told


def test_a_report_hides_code_and_shows_where_it_comes_from(
    results: tuple[Path, dict[str, Record]],
) -> None:
    out, records = results
    text = _report(results, "AAA")
    document: Any = nbformat.read(out / "AAA" / notebook_name("AAA"), as_version=4)
    for cell in document.cells:
        if cell.cell_type == "code" and "parameters" not in str(cell.metadata.get("tags")):
            assert not [line for line in cell.source.splitlines() if "(" in line and line in text]
    for name, digest in records["AAA"].inputs_sha256.items():
        assert name in text
        assert digest in text
    for name in records["AAA"].settings:
        assert name in text
    for words in ("command line", "default", "numpy", "papermill"):
        assert words in text


def test_each_figure_stands_once_and_says_what_it_shows(
    results: tuple[Path, dict[str, Record]],
) -> None:
    out, _ = results
    document: Any = nbformat.read(out / "AAA" / notebook_name("AAA"), as_version=4)
    drawn = sum(
        "image/png" in o.get("data", {}) for c in document.cells for o in c.get("outputs", [])
    )
    images = assert_self_contained(_report(results, "AAA")).all("img")
    assert len(images) == drawn
    assert len({i["src"] for i in images}) == drawn
    assert all(len(i["alt"] or "") > 20 for i in images)


def test_the_notebook_alone_gives_a_report_too(results: tuple[Path, dict[str, Record]]) -> None:
    out, _ = results
    text = render_report(out / "AAA" / notebook_name("AAA"))
    assert "<h1><bdi>AAA fill calibration" in text
    assert "old when calibrated" not in text  # the notebook does not say when it ran


def test_a_failure_page_says_what_where_and_what_to_do(
    results: tuple[Path, dict[str, Record]],
) -> None:
    text = _report(results, "BAD")
    assert "state_BAD.csv" in text
    assert "Load" in text
    assert "calibration.load(settings)" in text  # the cell, here of use
    assert "What to do" in text
    assert "\x1b" not in text
    assert "[0;31m" not in text
    assert "There are no parameters" in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dead_kernel", "memory"),
        ("deadline", "--deadline"),
        ("internal", "--debug"),
        (None, "--debug"),
    ],
)
def test_a_failure_without_a_notebook_has_a_page(kind: str | None, words: str) -> None:
    text = render_failure("AAA", Record(status="failed", error="gone", error_kind=kind), None)
    assert_headings_in_order(assert_self_contained(text))
    assert words in text
    assert "Before the notebook started" in text


def test_a_killed_notebook_shows_its_cell_and_what_it_said_last(tmp_path: Path) -> None:
    v4: Any = nbformat.v4
    said = v4.new_output("stream", name="stderr", text="reading\nallocating 80 GB\n")
    cells = [
        v4.new_markdown_cell("## Load"),
        v4.new_code_cell("log = calibration.load(settings)", execution_count=4, outputs=[said]),
    ]
    path = tmp_path / "calibration_A.ipynb"
    path.write_text(nbformat.writes(v4.new_notebook(cells=cells)), encoding="utf-8")
    dead = Record(status="failed", error="died", error_kind="dead_kernel", error_cell=4)
    text = render_failure("A", dead, path)
    for words in ("Cell 4, under “Load”", "calibration.load", "allocating 80 GB", "--jobs 1"):
        assert words in text
    assert_headings_in_order(assert_self_contained(text))


def test_half_a_notebook_is_no_obstacle(tmp_path: Path) -> None:
    half = tmp_path / "calibration_A.ipynb"
    half.write_text('{"cells": [{"cell_type"')
    assert "Before the notebook started" in render_failure("A", failed(), half)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_reasons_are_text(text: str, browser: Page, tmp_path: Path) -> None:
    page = render_failure(text, failed(error=text, settings={text: text}), None)
    assert_self_contained(page)
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    browser.screen(390, 844).open(path)
    assert browser.complaints == []
    assert browser.outside == []
    assert browser.js("document.title") != "owned"
    assert browser.js("document.querySelectorAll('script, img').length") == 0
    shown = browser.js("document.querySelector('h1').textContent")
    assert " ".join(text.split()) in " ".join(shown.split())
    assert browser.js("document.documentElement.scrollWidth") <= 390


def test_the_interval_of_A_is_shown_as_it_leans() -> None:
    leaning = record(0.75, ci95={"A": [0.36, 1.56], "k": [0.25, 0.35]})
    assert "0.75 (0.36–1.6) per second" in dict(facts(leaning))["A, k"]
    assert "A = 0.75 (0.36–1.6), k = 0.30 (0.25–0.35)" in figure_caption(leaning)
    wide = record(0.75, ci95={"A": [0.36, 1.56], "k": [0.25, 0.6]})
    assert "0.30 (0.25–0.60) per tick" in dict(facts(wide))["A, k"]


def test_a_distance_stands_in_basis_points_of_mid_too() -> None:
    known = record(mid=2_000.0, tick_size=0.1)
    assert [row[0] for row in fills_per_hour(known).rows] == [
        ("1", "0.500"),
        ("2", "1.00"),
        ("5", "2.50"),
    ]
    assert fills_per_hour(record(mid=-3.0, tick_size=0.1)).rows[0][0] == "1"


def test_the_data_are_told_as_the_market_that_they_cover() -> None:
    six = record(
        runs=6,
        covered_s=647.0,
        window_ms=(1_723_161_254_000, 1_723_161_901_000),
        finished_utc="2024-08-10T00:05:01+00:00",
        settings={"MARKET": "Binance spot"},
        fill_source="unknown",
    )
    assert facts(six)[:4] == [
        ("Market", "Binance spot"),
        (
            "Data",
            "2024-08-08 23:54:14 to 2024-08-09 00:05:01 UTC, 10.8 min of the market in 6 runs",
        ),
        ("Calibrated", "2024-08-10 00:05 UTC, data 24.0 h old"),
        ("Fills from", "not said by the log"),
    ]


def test_the_replay_marks_what_chance_does_not_give() -> None:
    shown = replay(record())
    assert shown.rows == [
        ("1", "400", "33.3 min", "200", ("210", "182–238"), "✓"),
        ("2–5", "400", "33.3 min", "121", ("100", "81–119"), "✗ outside"),
        ("all", "", "", "321", ("310", "270–352"), "✓"),
    ]
    assert "The log-linear fit that this replaces: 12 in all" in shown.note
    assert "the refused fit" in replay(record(status="refused")).note
    assert not replay(failed()).rows
    assert "blend, 100 ms a draw" in dict(facts(record(), "blend"))["For your backtester"]
    assert "For your backtester" not in dict(facts(record(status="refused")))


def test_terminal_colours_are_taken_out() -> None:
    assert readable("\x1b[0;31mred\x1b[0m \x1b]0;title\x07x\x1b[2K\ty\x00") == "red x   y"


@pytest.mark.parametrize(
    "latex",
    [
        r"\lambda(\delta)=A\,e^{-k\delta}",
        r"\begin{aligned} a&=b\\ c&=d\end{aligned}",
        r"\begin{cases} a & b \\ c & d \end{cases}",
        r"\{a \& b\}\ 10\,\%",
        "a < b",
    ],
)
def test_formulas_become_mathml(latex: str) -> None:
    mathml = to_mathml(latex, block=True)
    tree = ElementTree.fromstring(mathml)  # noqa: S314  our own output
    assert tree.tag == "math"
    assert tree.get("display") == "block"
    assert "\\" not in "".join(tree.itertext())


@pytest.mark.parametrize(
    "latex",
    [
        r"\unknown x",
        r"\frac{a}",
        "x^{",
        "}",
        r"\text{<img src=x onerror=alert(1)/>}",
        r"\text{<b>x</b>}",
        r"\newcommand{\a}{b}",
        r"\def\x{\x}\x",
        "x\x00",
        r"a & b",
        r"a \\ b",
        "",
    ],
)
def test_what_is_no_mathml_comes_as_its_source(latex: str) -> None:
    assert re.fullmatch(r'<code class="formula-source">[^<]*</code>', to_mathml(latex))


def test_markdown_shows_formulas_and_keeps_links_as_text() -> None:
    text = markdown("# T\n\n#### U\n\n$k$ [l](https://x.y) ![i](https://x.y/z.png) <b onclick=1>")
    assert '<h2 id="t">T</h2>' in text
    assert "<h3>U</h3>" in text
    assert "<math" in text
    assert "<a" not in text
    assert "<img" not in text
    assert "l (https://x.y)" in text


def test_outputs_keep_tables_and_lose_what_acts() -> None:
    png = "data:image/png;base64,AAAA"
    text = clean(
        "<style>p{}</style><h5>H</h5><script>x()</script><table border=1><thead><tr><th></th>"
        "<th>what it is</th><th>n</th></tr></thead><tr><th scope=row>a</th><td onclick=x>two"
        "<td>1.5<td colspan=2>2</table><iframe src=x></iframe><svg><a href='javascript:x'>y</a>"
        f"</svg><img src='{png}' alt=dot onerror=x><img src=//x.y/z.png><a href='#k'>k</a>"
        "<p style='background:url(//x.y)'>p</p><math href='//x.y'><mi>k</mi></math>",
        label='a "b"',
    )
    assert "H" in text
    assert 'aria-label="a &#34;b&#34;"' in text
    assert "<th>what it is</th>" in text
    assert '<th scope="row">a</th><td>two</td><td>1.5</td><td colspan="2">2</td>' in text
    assert f'<img src="{png}" alt="dot">' in text
    assert '<a href="#k">k</a>' in text
    assert "<math><mi>k</mi></math>" in text
    assert "x.y" not in text
    for gone in ("script", "style", "iframe", "onclick", "onerror", "border", "svg", "h5"):
        assert f"<{gone}" not in text
        assert f" {gone}=" not in text


def test_our_own_tables_pass_as_they_are() -> None:
    rows = [("warn", "some more words", "another few words"), ("note", "", "and <b>")]
    made = display.html("x", display.Table(("", "what", "cause"), rows, "Findings"))
    assert clean(made, "other") == made.replace(' style="text-align:left"', "")


def test_an_outcome_of_another_make_is_none(results: tuple[Path, dict[str, Record]]) -> None:
    out, _ = results
    document: Any = nbformat.read(out / "AAA" / notebook_name("AAA"), as_version=4)
    assert outcome_in(document) is not None
    for cell in document.cells:
        for output in cell.get("outputs", []):
            for content in output.get("data", {}).values():
                if isinstance(content, dict) and "record" in content:
                    content["record"]["status"] = "perfect"
    assert outcome_in(document) is None


def test_the_checks_of_pages_can_fail(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    words = "<p style='color:#bbb;background:#fff'>pale</p>"
    path.write_text(f"<html lang=en><title>x</title><main><h1>x</h1>{words}</main>")
    with pytest.raises(AssertionError, match="color-contrast"):
        assert_accessible(browser, path)
    wide = "<div style='overflow-x:auto'><pre>{}</pre></div>".format("x" * 500)
    path.write_text(f"<html lang=en><title>x</title><main><h1>x</h1>{wide}</main>")
    with pytest.raises(AssertionError, match="overflow-x"):
        assert_accessible(browser, path)
