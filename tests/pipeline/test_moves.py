"""Moves of λ over the nights: what is usual of a symbol is no news, and small steps add up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mm.pipeline import history, moves
from mm.report.compare import lines
from mm.report.news import news_of
from mm.results.record import Record
from tests.support.records import record

FIRST = datetime(2026, 1, 1, 6, tzinfo=UTC)


def day(night: int) -> date:
    return (FIRST + timedelta(days=night)).date()


def mornings(folder: Path, levels: Sequence[float]) -> list[str]:
    """What the mail says changed on each night after the first, of a symbol of these λ."""
    told: list[str] = []
    before: Record | None = None
    for night, level in enumerate(levels):
        made = record(A=level, k=0.3, inputs_sha256={"orders.csv": str(night)})
        (found,) = moves.with_past({"AAA": made}, folder, day(night), pytest.fail).values()
        if before is not None:
            current = lines({"AAA": found}, {"AAA": before})
            told.append("; ".join(news_of(current, first_run=False).changed))
        history.add(folder, {"AAA": found}, FIRST + timedelta(days=night))
        before = found
    return told


@pytest.fixture
def of_its_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder in which each batch's file is named by the night of its rows."""
    nights = iter(range(10**6))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return FIRST + timedelta(days=next(nights))

    monkeypatch.setattr(history, "datetime", Clock)
    return tmp_path


def test_small_steps_are_told_when_they_come_to_news(of_its_night: Path) -> None:
    told = mornings(of_its_night, [1.2 * 1.03**night for night in range(40)])
    when = [night for night, text in enumerate(told, 1) if text]
    gaps = np.diff([0, *when])
    assert len(when) >= 3
    assert (gaps > np.log(1.25) / np.log(1.03)).all(), "not before it is news, and not each night"
    first = told[when[0] - 1]
    assert re.fullmatch(r"AAA: λ \+\d\d % \(\+3\.\d SE\) since 2026-01-01", first)
    second = FIRST + timedelta(days=when[0])
    assert told[when[1] - 1].endswith(f"since {second:%Y-%m-%d}")


def test_a_step_is_told_once(of_its_night: Path) -> None:
    told = mornings(of_its_night, [1.2] * 5 + [3.6] * 5)
    assert [bool(text) for text in told] == [night == 5 for night in range(1, 10)]
    assert "since" not in told[4]


def test_moves_that_are_usual_are_no_news(of_its_night: Path) -> None:
    rng = np.random.default_rng(5)
    levels = 1.2 * np.exp(0.3 * rng.standard_normal(60))
    told = [bool(text) for text in mornings(of_its_night, [*levels, 20.0])]
    assert sum(told[:12]) > 0, "while nobody knows what is usual"
    assert sum(told[12:-1]) == 0
    assert told[-1]


def test_ok_and_warn_turn_on_the_second_night_all_else_at_once(tmp_path: Path) -> None:
    nights = ["ok", "warn", "ok", "warn", "warn", "refused", "warn", "ok", "missing", "ok", "ok"]
    told: list[str] = []
    quiet: list[str] = []
    before: Record | None = None
    for night, status in enumerate(nights):
        made = record(status=status)
        (found,) = moves.with_past({"AAA": made}, tmp_path, day(night), pytest.fail).values()
        news = news_of(lines({"AAA": found}, {"AAA": before} if before else None), first_run=False)
        told.append("; ".join(news.changed))
        quiet.append(news.quiet)
        history.add(tmp_path, {"AAA": found}, FIRST + timedelta(days=night))
        before = found
    assert told == [
        "AAA: new, ok", "", "", "", "AAA: warn, was ok", "AAA: refused, was warn",
        "AAA: warn, was refused", "", "", "AAA: ok, was missing", "",
    ]  # fmt: skip
    once = [night for night, text in enumerate(quiet) if "For this night AAA" in text]
    assert once == [1, 2, 3, 7]
    assert "For this night AAA: warn." in quiet[1]


def test_a_damaged_history_is_said(tmp_path: Path) -> None:
    history.add(tmp_path, {"AAA": record()}, FIRST)
    (part,) = (tmp_path / "history").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    told: list[str] = []
    (found,) = moves.with_past({"AAA": record()}, tmp_path, day(1), told.append).values()
    assert found.usual_move is None
    assert "moves are held against the last batch alone" in told[0]
    assert "is not as it was written; restore it" in told[0]
