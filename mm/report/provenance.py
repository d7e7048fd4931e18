"""Where a report comes from: inputs with hashes, settings and who set them, versions, time."""

from __future__ import annotations

from collections.abc import Mapping

from mm.core.settings import Settings
from mm.report import words
from mm.results.params import versions
from mm.results.record import Record


def provenance(record: Record, made_with: Mapping[str, str] | None = None) -> str:
    """The last section of a report. ``made_with``: versions; None takes those of this process."""
    inputs = [
        (words.text(name), f'<code class="hash">{digest}</code>')
        for name, digest in sorted(record.inputs_sha256.items())
    ]
    parts = ["<h3>Inputs</h3>"]
    if inputs:
        parts.append(words.table(("file", "SHA-256"), inputs, "Input files", "texts"))
    else:
        parts.append("<p>Not known: it ended before all of its input was read.</p>")
    parts.append("<h3>Settings</h3>")
    settings = [
        (words.text(name), words.text(_shown(value)), words.text(_origin(record, name, value)))
        for name, value in record.settings.items()
    ]
    if settings:
        head = ("setting", "value", "set by")
        parts.append(words.table(head, settings, "Settings", "texts"))
    parts.append("<h3>Made</h3>")
    took = "" if record.seconds is None else f", in {record.seconds:.1f} s"
    parts.append(f"<p>{words.instant(record.finished_utc)}{took}</p>")
    used = made_with or versions()
    listed = ", ".join(f"{words.text(n)} {words.text(v)}" for n, v in used.items())
    parts.append(f"<p>With {listed}.</p>")
    return "".join(parts)


def _shown(value: object) -> str:
    return "–" if value is None or value == "" else str(value)


def _origin(record: Record, name: str, value: object) -> str:
    """Who set a setting: as the driver recorded it, else whether it differs from its default."""
    given = record.settings_from.get(name)
    if given:
        return given
    field = Settings.model_fields.get(name)
    default = field is not None and field.get_default(call_default_factory=True) == value
    return "default" if default else "this run"
