"""What a batch leaves for people: reports, the index page and the mail."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mm.pipeline.books import read_books
from mm.report.index import INDEX_NAME, render_index
from mm.report.mail import build_message, write_message
from mm.report.send import send
from mm.results.record import Record, notebook_name, report_name, write_text


@dataclass(frozen=True)
class Mail:
    """Who gets the mail; without recipients it is only written."""

    sender: str | None = None
    recipients: Sequence[str] = ()


def write_report(symbol: str, record: Record, folder: Path) -> None:
    """A symbol's page from its record and executed notebook, which one that failed may not have."""
    from mm.report.failure import render_failure
    from mm.report.page import render_report

    notebook = folder / notebook_name(symbol)
    if record.status == "failed":
        html = render_failure(symbol, record, notebook if notebook.exists() else None)
    else:
        html = render_report(notebook, record=record)
    write_text(folder / report_name(symbol), html)


def write_pages(
    out_dir: Path,
    previous: Mapping[str, Record],
    this_run: Collection[str],
    place: str,
    mail: Mail,
) -> None:
    """Write index.html and calibration.eml from the books, then send the mail if it has
    recipients.

    ``previous``: the books before the batch. ``place``: where people find the results.
    Raises MailError after everything is written.
    """
    records, now = read_books(out_dir), datetime.now(UTC)
    page = render_index(records, out_dir, previous, this_run=this_run, now=now)
    write_text(out_dir / INDEX_NAME, page)
    message = build_message(
        records, previous, this_run, out_dir, mail.sender, mail.recipients, now, place=place
    )
    write_message(message, out_dir)
    if mail.recipients:
        send(message, os.environ)
