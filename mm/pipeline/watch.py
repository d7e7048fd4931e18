"""For machines that watch a batch: a log of JSON lines, and a ping with the exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mm.core.errors import OutputError, SettingsError
from mm.pipeline.batch import Watcher
from mm.pipeline.symbol import SymbolRun
from mm.results.record import Record

#: Environment: where to say how a batch ended. A secret, as healthchecks.io's are: it is in no
#: record, and no line of ours shows it.
PING_URL = "MM_PING_URL"
_TIMEOUT_S = 10.0
_WEB = ("https://", "http://")


class JsonLog:
    """Hears how a batch goes, writes a line of JSON for each event to the end of a file, and hands
    it on."""

    def __init__(self, path: Path, then: Watcher) -> None:
        """Raises OutputError if the file can't be written."""
        self._path, self._then = path, then
        self.write("batch_started")

    def started(self, symbol: str) -> None:
        """A symbol has started."""
        self._then.started(symbol)
        self.write("started", symbol=symbol)

    def done(self, run: SymbolRun) -> None:
        """A symbol has ended, or was skipped."""
        self._then.done(run)
        names = ("status", "A", "k", "n_fills", "error_kind", "seconds", "attempts")
        said = {name: getattr(run.record, name) for name in names}
        reason = run.record.reason or None
        self.write("done", symbol=run.symbol, skipped=run.skipped, reason=reason, **said)

    def trouble(self, line: str) -> None:
        """Something else went wrong."""
        self._then.trouble(line)
        self.write("trouble", line=line)

    def told(self, records: Mapping[str, Record]) -> None:
        """What the books say of this batch's symbols."""
        self._then.told(records)
        self.write("told", statuses={s: record.status for s, record in records.items()})

    def kept(self, folder: Path, size: int) -> None:
        """What is kept of pooled runs, bytes."""
        self._then.kept(folder, size)
        self.write("kept", folder=str(folder), bytes=size)

    def write(self, event: str, **fields: Any) -> None:
        """One line, in one write to the end of the file: lines of several batches do not mix."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        given = {name: value for name, value in fields.items() if value is not None}
        line = json.dumps({"utc": now, "event": event, **given}, ensure_ascii=False) + "\n"
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(line.encode())
        except OSError as error:
            raise OutputError.of(error, self._path) from None


def check_ping(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for a URL that can't be pinged, before the batch rather than after it."""
    url = environ.get(PING_URL, "")
    if url and not url.startswith(_WEB):
        raise SettingsError(f"{PING_URL}: not an http or https URL")


def ping(environ: Mapping[str, str], code: int) -> str | None:
    """Tell a health check the exit code: GET URL/<code>, as healthchecks.io has it. Returns what
    kept it from being told, None if nothing did; without a URL nothing is told."""
    url = environ.get(PING_URL, "")
    if not url.startswith(_WEB):
        return None
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/{code}", timeout=_TIMEOUT_S):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return f"the health check of {PING_URL} answered {error.code}"
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        return f"the health check of {PING_URL} was not reached ({why})"
