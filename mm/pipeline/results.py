"""Where results are kept: a folder of this machine; ``store`` has those that are kept elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from mm.core.errors import OutputError
from mm.core.formatting import utc
from mm.pipeline.books import mark_params, read_record, remove_stale_params, write_record
from mm.pipeline.locks import out_lock
from mm.pipeline.pages import write_report
from mm.pipeline.plan import Job
from mm.pipeline.publish import publish, recover, settle, staging
from mm.pipeline.resume import finished, pages_digest
from mm.results.record import Record, params_name


class Results:
    """The folder that a batch's results go to; see ``open_folder``.

    ``lasting``: whether it is still there when the batch is over.
    """

    lasting = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def finished(self, job: Job, mark: str) -> Record | None:
        """The record of a result that still holds, None if the symbol must run."""
        return finished(job, self.folder, mark)

    def holds(self, symbol: str) -> bool:
        """Whether a symbol has any file here."""
        folder = self.folder / symbol
        return folder.is_dir() and any(folder.iterdir())

    def publish(self, stage: Path, symbol: str, record: Record) -> None:
        """Put a symbol's staged files in the place of its old ones, then its record.

        Safe to call from several threads, for different symbols.
        """
        publish(stage, self.folder / symbol)
        # Only now: a record tells of outputs that are there.
        write_record(self.folder, symbol, record)

    def failed(self, symbol: str, record: Record) -> None:
        """Put a page that says so in the place of a symbol's old files, then its record.

        Where results can't be written at all, the old ones stand as they were: the record, the
        line and the exit code tell. Raises OutputError if the record can't be written.
        """
        if record.error_kind != "unwritable":
            try:
                self._publish_failure(symbol, record)
            except (OutputError, OSError):
                remove_stale_params(self.folder, symbol)
        write_record(self.folder, symbol, record)

    def _publish_failure(self, symbol: str, record: Record) -> None:
        with staging(self.folder, symbol) as stage:
            write_report(symbol, record, stage)
            settle(stage)
            publish(stage, self.folder / symbol)

    def renew_report(self, symbol: str, record: Record) -> Record:
        """Make a symbol's report anew from the executed notebook that is kept; returns its record.

        Raises what reading, rendering and publishing raise; the old files then stand.
        """
        return self._renew(
            symbol,
            record.model_copy(update={"pages": pages_digest()}),
            lambda stage: write_report(symbol, record, stage),
        )

    def mark(self, symbol: str, told: Record, valid_for_s: float | None = None) -> Record:
        """Say in a symbol's params file that its log is missing or stale, take it back once it no
        longer is, and say until when it holds. ``told``: what the books say of it; returns what
        they then say.

        Raises OutputError, StoreError or OSError if it can't be written; the old files then stand.
        """
        text = None
        if told.status == "missing":
            text = f"missing since {told.missing_since_utc}"
        elif told.status == "stale" and told.window_ms:
            text = f"stale, data until {utc(told.window_ms[1])} UTC"
        kept, outdated = read_record(self.folder, symbol), text is not None
        if kept is None or params_name(symbol) not in kept.outputs:
            return told
        until = None
        if valid_for_s is not None and kept.window_ms:
            end = datetime.fromtimestamp(kept.window_ms[1] / 1000.0 + valid_for_s, UTC)
            until = end.isoformat(timespec="seconds")
        marks = {"outdated": outdated, "valid_until": until}
        if (kept.outdated, kept.valid_until) == (outdated, until):
            return told.model_copy(update=marks)
        try:
            kept = self._renew(
                symbol,
                kept.model_copy(update=marks),
                lambda stage: mark_params(stage, symbol, text, until),
            )
        except (FileNotFoundError, ValueError):  # taken away or damaged: it marks nothing good
            return told
        return told.model_copy(update={"outputs": kept.outputs, **marks})

    def _renew(self, symbol: str, record: Record, change: Callable[[Path], object]) -> Record:
        """Change files of a symbol, all of which are replaced in one step; returns its record."""
        with staging(self.folder, symbol) as stage:
            for name in record.outputs:
                shutil.copyfile(self.folder / symbol / name, stage / name)
            change(stage)
            record = record.model_copy(update={"outputs": settle(stage)})
            self.publish(stage, symbol, record)
        return record

    def fetch_for_pages(self, ran: Collection[str]) -> None:
        """Have here what the pages show of symbols that did not run; here it is already."""

    def keep(self, *names: str) -> None:
        """Keep files over all symbols, written to ``folder``; that is where they are kept."""


@contextlib.contextmanager
def open_folder(out_dir: Path) -> Iterator[Results]:
    """Make the results folder, hold it, and clear away what a killed batch left there.

    Raises CalibrationError if it can't be written, or another batch holds it.
    """
    with out_lock(out_dir):
        try:
            recover(out_dir)
        except OSError as error:
            raise OutputError.of(error, error.filename or out_dir) from None
        yield Results(out_dir)
