"""Versions of parameters by their hash, the aliases ``candidate`` and ``live``, and the journal.

    registry/versions/BTCUSDT/<sha256>.json   a params file, never changed
    registry/candidate.json, live.json        which version each symbol has
    registry/journal.jsonl                    who, when, why: a line a release

An alias is one small file that is renamed into place, all symbols at once: whenever a process is
killed, the one before or the one after is live. A release that is live and not yet in the journal
is written there by whoever opens the registry next. Each line holds the hash of the one before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mm.core.errors import CalibrationError, OutputError
from mm.core.locks import take
from mm.results.params import Params
from mm.results.record import write_text

#: The registry's folder in the results folder, unless another is named.
REGISTRY = "registry"
_LIVE, _CANDIDATE, _JOURNAL, _LOCK = "live.json", "candidate.json", "journal.jsonl", "lock"
Versions = Mapping[str, str]


class Release(BaseModel):
    """One change of what is live. ``changed``: by symbol the version before and the one after, None
    for none. ``overridden``: by symbol what spoke against it, where it was forced. ``undoes``: the
    number of the release that a rollback takes back. ``before_sha256``: of the journal's line
    before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    action: Literal["promote", "rollback"]
    when_utc: str
    who: str
    why: str
    changed: dict[str, tuple[str | None, str | None]]
    overridden: dict[str, tuple[str, ...]] = {}
    undoes: int | None = None
    before_sha256: str | None = None


class _Live(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Release
    symbols: dict[str, str]


class Registry:
    """A registry's folder; see :func:`open_registry` for one that is to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def live(self) -> Versions:
        """The live version of each symbol."""
        found = self._live()
        return found.symbols if found else {}

    def candidates(self) -> Versions:
        """The version of each symbol that was last offered."""
        text = _text(self.folder / _CANDIDATE)
        return {} if text is None else dict(json.loads(text))

    def params(self, symbol: str, version: str) -> Params:
        """The parameters of a version. Raises CalibrationError if its file is gone or altered."""
        text = self.text(symbol, version)
        try:
            return Params.model_validate_json(text)
        except ValidationError:
            raise CalibrationError(f"{self._path(symbol, version)}: of another make") from None

    def text(self, symbol: str, version: str) -> str:
        """A version's text. Raises CalibrationError if its file is gone or altered."""
        path = self._path(symbol, version)
        text = _text(path)
        if text is None:
            raise CalibrationError(f"{path}: is gone; roll back, or promote anew")
        if digest(text) != version:
            raise CalibrationError(
                f"{path}: is not as it was registered; roll back, or promote anew"
            )
        return text

    def journal(self) -> list[Release]:
        """Every release, the oldest first. Raises CalibrationError if a line was altered."""
        releases, before = [], None
        for number, line in enumerate(self.lines(_JOURNAL), 1):
            try:
                release = Release.model_validate_json(line)
            except ValidationError:
                release = None
            if release is None or (release.number, release.before_sha256) != (number, before):
                raise CalibrationError(
                    f"{self.folder / _JOURNAL}, row {number}: it, or the row before, is not as it "
                    "was written; what is live is not touched by it"
                )
            releases.append(release)
            before = digest(line)
        live = self._live()
        if live and live.release.number == len(releases) + 1:  # its writer was killed
            releases.append(live.release)
        return releases

    def add(self, symbol: str, text: str) -> str:
        """Keep a params file's text as a version; returns its name, the hash of the text."""
        version = digest(text)
        path = self._path(symbol, version)
        if not path.exists():
            _make(path.parent)
            write_text(path, text)
        return version

    def offer(self, versions: Versions) -> None:
        """Set the alias ``candidate`` of these symbols."""
        write_text(self.folder / _CANDIDATE, _json({**self.candidates(), **versions}))

    def release(self, release: Release) -> None:
        """Make a release live, then write it to the journal. Held by :func:`open_registry`."""
        symbols = dict(self.live())
        for symbol, (_, after) in release.changed.items():
            if after is None:
                symbols.pop(symbol, None)
            else:
                symbols[symbol] = after
        lines = self.lines(_JOURNAL)
        before = digest(lines[-1]) if lines else None
        release = release.model_copy(update={"number": len(lines) + 1, "before_sha256": before})
        live = _Live(release=release, symbols=dict(sorted(symbols.items())))
        write_text(self.folder / _LIVE, live.model_dump_json(indent=2) + "\n")
        self.append(_JOURNAL, release.model_dump_json())

    def lines(self, name: str) -> list[str]:
        """The lines of a file of the registry."""
        return _lines(self.folder / name)

    def append(self, name: str, line: str) -> None:
        """Add a line to a file of the registry. Held by :func:`open_registry`."""
        with (self.folder / name).open("a", encoding="utf-8", newline="") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def mend(self) -> None:
        """Do what a killed process left undone: half a line, a line, files half written."""
        for part in (*self.folder.glob(".*.part"), *self.folder.glob("versions/*/.*.part")):
            part.unlink()
        for path in self.folder.glob("*.jsonl"):
            text = _text(path) or ""
            if text and not text.endswith("\n"):
                write_text(path, text[: text.rfind("\n") + 1])
        live = self._live()
        if live and live.release.number > len(self.lines(_JOURNAL)):
            self.append(_JOURNAL, live.release.model_dump_json())

    def _live(self) -> _Live | None:
        path = self.folder / _LIVE
        text = _text(path)
        try:
            return None if text is None else _Live.model_validate_json(text)
        except ValidationError:
            raise CalibrationError(f"{path}: is not as it was written; restore it") from None

    def _path(self, symbol: str, version: str) -> Path:
        return self.folder / "versions" / symbol / f"{version}.json"


@contextlib.contextmanager
def open_registry(folder: Path) -> Iterator[Registry]:
    """Make a registry's folder, hold it, and mend what a killed process left there.

    Raises CalibrationError if another process holds it, OutputError if it can't be written.
    """
    try:
        _make(folder)
        with (folder / _LOCK).open("a") as file:
            if not take(file.fileno()):
                raise CalibrationError(f"{folder}: another command changes it; wait for it")
            registry = Registry(folder)
            registry.mend()
            yield registry
    except OSError as error:
        raise OutputError.of(error, error.filename or folder) from None


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.of(error, folder) from None


def _text(path: Path) -> str | None:
    """A file's text, None if it is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: can't be read ({error})") from None


def _lines(path: Path) -> list[str]:
    """The whole lines of a file; what stands behind the last line's end was never finished."""
    return (_text(path) or "").split("\n")[:-1]


def _json(versions: Versions) -> str:
    return json.dumps(dict(sorted(versions.items())), indent=2) + "\n"
