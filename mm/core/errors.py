"""Typed errors. Each message is one line that says what, where, what was found and what to do."""

from __future__ import annotations

from pathlib import Path


class CalibrationError(Exception):
    """Base of every error this package raises on purpose; its text is fit to be shown as it is."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: who sees where in this package it was raised is none the wiser."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(CalibrationError):
    """A setting is unknown, of the wrong type or out of range."""


class InputError(CalibrationError):
    """A log file is missing, unreadable or breaks the input contract.

    Parameters
    ----------
    what : what is wrong and what was found there.
    where : the file (and folder) it was found in.
    row : line number in the file, the header being line 1.
    column : name of the column.
    remedy : what the reader should do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | Path,
        row: int | None = None,
        column: str | None = None,
        remedy: str = "",
    ) -> None:
        place = [str(where)]
        if row is not None:
            place.append(f"row {row}")
        if column is not None:
            place.append(f"column {column}")
        text = f"{', '.join(place)}: {what}"
        super().__init__(f"{text}; {remedy}" if remedy else text)
        self.what, self.where, self.row, self.column = what, str(where), row, column
        self.remedy = remedy


def one_line(error: Exception) -> str:
    """What an error says, in one line: of the system's own, what failed and where."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


class OutputError(CalibrationError):
    """A result can't be written: a full disk, a limit, rights, a folder that is gone."""

    @classmethod
    def of(cls, error: OSError, where: str | Path) -> OutputError:
        """What the system said of a place."""
        why = error.strerror or type(error).__name__
        return cls(f"{where}: can't be written ({why}); free space, or name another --out-dir")


class EstimateError(CalibrationError):
    """The data have no valid estimate; ``code`` names the reason in one word, by which
    ``mm.diagnostics.rules.model`` says what to do: no_events, no_mle or dt_unknown."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code = code


class OriginalError(CalibrationError):
    """The original notebook raises on these files; the text is the exception it raises."""
