"""What was asked for on the command line, its parameters read as papermill reads its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm.core.config import parse_yaml, read_yaml
from mm.core.settings import Settings, check_names
from mm.core.storage import Place


@dataclass(frozen=True)
class Request:
    """The command line as given."""

    data_dir: Place | None = None
    out_dir: Place | None = None
    symbols: str | None = None
    config: Path | None = None
    jobs: int | None = None
    shard: str | None = None
    parameters: Sequence[tuple[str, str]] = ()
    raw: Sequence[tuple[str, str]] = ()
    files: Sequence[Path] = ()
    yamls: Sequence[str] = ()


def given_settings(request: Request) -> dict[str, Any]:
    """Parameters in papermill's order: files, then YAML text, then -p, then -r.

    Raises SettingsError for what is no YAML, and for names that are no settings.
    """
    values: dict[str, Any] = {}
    for path in request.files:
        values.update(read_yaml(path))
    for text in request.yamls:
        values.update(parse_yaml(text, "-y"))
    for name, text in request.parameters:
        values[name] = typed(name, text)
    values.update(request.raw)
    check_names(values, "command line")
    return values


def typed(name: str, text: str) -> Any:
    """A -p value as papermill reads it; a setting that is text stays text (0700 is no number)."""
    field = Settings.model_fields.get(name)
    if field is not None and field.annotation is str:
        return text
    named = {"True": True, "False": False, "None": None}
    if text in named:
        return named[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
