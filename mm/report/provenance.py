"""Where a report comes from: inputs with hashes, settings and who set them, versions, time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm.core.settings import Settings
from mm.report import words
from mm.results.params import versions
from mm.results.record import Record


def provenance(record: Record, made_with: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The last section of a report. ``made_with``: versions; None takes those of this process."""
    took = "" if record.seconds is None else f", in {record.seconds:.1f} s"
    return {
        "inputs": [(name, digest, "") for name, digest in sorted(record.inputs_sha256.items())],
        "settings": [
            (name, _shown(value), _origin(record, name, value))
            for name, value in record.settings.items()
        ],
        "made": f"{words.instant(record.finished_utc)}{took}",
        "versions": ", ".join(f"{n} {v}" for n, v in (made_with or versions()).items()),
    }


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
