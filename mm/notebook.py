"""What the template calls: settings from its parameters, the headline on top, the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm.core.config import (
    CONFIG_NAME,
    Config,
    Resolved,
    backtest_folder,
    below_root,
    find_config,
    read_config,
)
from mm.core.display import Parts
from mm.core.errors import SettingsError
from mm.core.settings import Settings, check_names
from mm.results.outcome import Calibration, outcome_of
from mm.results.record import MIME, Outcome, write_outcome

#: Names in the parameters cell that are no settings: where ``mm`` is, which file to read.
PLACES = ("REPO_ROOT", "CONFIG")
_SOURCE = "notebook parameters"


def chosen(namespace: Mapping[str, Any]) -> Resolved:
    """The notebook's settings, each with its source: a parameter that is not None, else what the
    folder's calibration.yaml says, else the default.

    The driver resolves everything itself and sets CONFIG to "", so that an executed copy holds
    all it needs.

    Raises SettingsError, also for a name in capitals that is no setting: papermill only warns
    of a mistyped ``-p``, and a number that silently did not arrive is worse than an error.
    """
    values = {n: v for n, v in namespace.items() if n.isupper() and len(n) > 1 and n[0] != "_"}
    for name in namespace:
        if name.upper() in Settings.model_fields and not name.isupper():
            raise SettingsError(f"{_SOURCE}: {name} is written {name.upper()}")
    places = {name: values.pop(name, "") for name in PLACES}
    check_names(values, _SOURCE)
    given = {name: value for name, value in values.items() if value is not None}
    plain = Settings.build(given, _SOURCE)
    config = _config(str(places["CONFIG"]), plain)
    filed = {n: v for n, v in config.of(plain.SYMBOL).items() if n not in given}
    found = Settings.build({**given, **filed}, config.source or _SOURCE).check_range(_SOURCE)
    sources = {**dict.fromkeys(given, _SOURCE), **dict.fromkeys(filed, config.source)}
    return Resolved(found, {n: sources[n] for n in Settings.model_fields if n in sources})


def _config(name: str, given: Settings) -> Config:
    if not name:
        return Config()
    folder = backtest_folder(given.BACKTEST_DIR)
    return find_config(folder) if name == CONFIG_NAME else read_config(folder / name)


class Headline:
    """A place at the top of the notebook that the last cells fill in."""

    def __init__(self, chosen: Settings) -> None:
        from IPython import display

        waiting = Parts(f"Calibrating {chosen.SYMBOL} …")
        self._handle = display.display(waiting, display_id=True)

    def show(self, result: Calibration) -> None:
        """Put the verdict and the headline numbers there."""
        self._handle.update(result)


@dataclass(frozen=True, repr=False)
class Emission:
    """The outcome as the executed notebook carries it: the driver takes its files from here."""

    outcome: Outcome
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": self.text, MIME: json.loads(self.outcome.model_dump_json())}


def emit(result: Calibration) -> Emission:
    """Print what a backtester's environment takes; write the files if RESULT_DIR is set."""
    print(result.params.for_backtester if result.params else "No parameters.")
    outcome = outcome_of(result)
    text = result.verdict.line
    if result.settings.RESULT_DIR:
        folder = below_root(result.settings.RESULT_DIR)
        written = write_outcome(outcome, result.log.symbol, folder)
        text += f"\nwritten to {folder}: {', '.join(path.name for path in written)}"
    return Emission(outcome, text)
