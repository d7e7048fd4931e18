"""Where settings come from: defaults < calibration.yaml < environment < command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from mm.core.display import Table, html
from mm.core.errors import SettingsError
from mm.core.expected import KEYS, Expected, expected_of
from mm.core.policy import KEYS as POLICY_KEYS
from mm.core.policy import Policy, policy_of
from mm.core.settings import Settings, check_names, unit_of
from mm.core.storage import AnyPath, Remote, is_url

_ABOVE = Path(__file__).resolve().parents[2]
_TEMPLATE = Path("notebooks", "poisson_fill_calibration.ipynb")
#: The checkout that this is loaded from; None for an installed package, which has the template in
#: its own folder.
REPO_ROOT = _ABOVE if (_ABOVE / _TEMPLATE).is_file() else None
TEMPLATE = (REPO_ROOT or _ABOVE / "mm") / _TEMPLATE
#: Looked for in the data folder; the first that is there is read.
CONFIG_NAME = "calibration.yaml"
CONFIG_NAMES = (CONFIG_NAME, "calibration.yml")
#: The original notebook called the folder that the backtest wrote OUT_DIR.
ALIASES = {"OUT_DIR": "BACKTEST_DIR"}
#: Set per symbol by the driver; a value from elsewhere has no meaning there.
_DRIVEN = ("SYMBOL", "BACKTEST_DIR", "RESULT_DIR")

Values = Mapping[str, Any]


def below_root(folder: str = "") -> Path:
    """A folder as settings name it: a relative one lies below the repo root, wherever the
    notebook was started from; for an installed package below the current folder."""
    return (REPO_ROOT or Path.cwd()) / Path(folder).expanduser()


def backtest_folder(named: str) -> AnyPath:
    """What BACKTEST_DIR names: a folder here, see :func:`below_root`, or at a URL."""
    return Remote.of(named) if is_url(named) else below_root(named)


@dataclass(frozen=True)
class Config:
    """A configuration file: settings for all symbols and for single ones, what is expected, and
    what may go live. ``beside``: a second one, under the other name, that is not read."""

    source: str = ""
    defaults: Values = field(default_factory=dict)
    symbols: Mapping[str, Values] = field(default_factory=dict)
    expected: Expected = field(default_factory=Expected)
    policy: Policy = field(default_factory=Policy)
    beside: str = ""

    def of(self, symbol: str) -> dict[str, Any]:
        """The file's settings of one symbol."""
        return {**self.defaults, **self.symbols.get(symbol, {})}


@dataclass(frozen=True, repr=False)
class Resolved:
    """Settings with the place each came from, where that is not the default. Shows all that are in
    force, those that somebody has set first."""

    settings: Settings
    sources: Mapping[str, str]

    def __repr__(self) -> str:
        told = (f"{n} = {getattr(self.settings, n)!r} ({s})" for n, s in self.sources.items())
        return "\n".join(["Settings in force, the others at their defaults:", *told])

    def _repr_html_(self) -> str:
        names = [*self.sources, *(n for n in Settings.model_fields if n not in self.sources)]
        rows = [
            (
                name,
                repr(getattr(self.settings, name)),
                unit_of(name),
                self.sources.get(name, "default"),
                Settings.model_fields[name].description or "",
            )
            for name in names
        ]
        head = ("setting", "value in force", "unit", "from", "meaning")
        return html(Table(head, rows, name="settings in force"))


def configs_in(data_dir: AnyPath) -> list[AnyPath]:
    """The configuration files of a data folder, the one that is read first."""
    return [path for name in CONFIG_NAMES if (path := data_dir / name).is_file()]


def find_config(data_dir: AnyPath) -> Config:
    """The data folder's calibration.yaml or .yml, or an empty one."""
    there = configs_in(data_dir)
    if not there:
        return Config()
    return replace(read_config(there[0]), beside=str(there[1]) if there[1:] else "")


def read_config(path: AnyPath) -> Config:
    """Read a YAML file with ``defaults:``, ``symbols:`` and what is expected, and check every name
    and value.

    Raises SettingsError, one line.
    """
    content, keys = read_yaml(path), (*KEYS, *POLICY_KEYS)
    unknown = [name for name in content if name not in ("defaults", "symbols", *keys)]
    if unknown:
        raise SettingsError(
            f"{path}: found {unknown[0]!r} at the top; it holds defaults: and symbols:, and "
            f"{', '.join(f'{key}:' for key in keys)} only"
        )
    defaults = _mapping(content.get("defaults"), f"{path}: defaults")
    symbols = _mapping(content.get("symbols"), f"{path}: symbols")
    by_symbol = {}
    for symbol, values in symbols.items():
        if not isinstance(symbol, str):
            raise SettingsError(f"{path}: symbols: found {symbol!r}, not text; put it in quotes")
        by_symbol[symbol] = _mapping(values, f"{path}: symbols: {symbol}")
    said = expected_of(content, str(path)), policy_of(content, str(path))
    config = Config(str(path), defaults, by_symbol, *said)
    for where, values in [("defaults", defaults), *by_symbol.items()]:
        for name in _DRIVEN:
            if name in values:
                raise SettingsError(f"{path}: {where}: {name} can't be set here; it is per run")
        Settings.build(values, f"{path}: {where}")
    return config


def read_yaml(path: AnyPath) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises SettingsError, one line."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8 text") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML's own loader takes the last, silently."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # as written: nothing is merged in yet
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in seen:
                    raise _Twice(key.value, seen[name], line)
                seen[name] = line
        return node


class _Twice(Exception):
    def __init__(self, name: str, first: int, second: int) -> None:
        where = f"line {first}" if first == second else f"lines {first} and {second}"
        super().__init__(f"{name} stands twice, in {where}; keep one")


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """YAML text that holds a mapping. Raises SettingsError, one line."""
    try:
        loader = _Loader(text)
        try:
            content = loader.get_single_data()
        finally:
            loader.dispose()
    except _Twice as error:
        raise SettingsError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not YAML ({' '.join(str(error).split())})") from None
    return _mapping(content, source)


def _mapping(content: Any, source: str) -> dict[Any, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{source}: found {content!r}, expected NAME: value lines")
    return content


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that the environment gives; empty variables count as unset.

    BACKTEST_DIR also goes by its old name OUT_DIR.
    """
    found = {n: environ[n] for n in Settings.model_fields if environ.get(n)}
    for old, name in ALIASES.items():
        if environ.get(old):
            found.setdefault(name, environ[old])
    return found


def from_command_line(
    parameters: Sequence[tuple[str, str]] = (),
    raw: Sequence[tuple[str, str]] = (),
    files: Sequence[Path] = (),
    yamls: Sequence[str] = (),
) -> dict[str, Any]:
    """Parameters in papermill's order: files, then YAML text, then -p, then -r.

    Raises SettingsError for what is no YAML, and for names that are no settings.
    """
    values: dict[str, Any] = {}
    for path in files:
        values.update(read_yaml(path))
    for text in yamls:
        values.update(parse_yaml(text, "-y"))
    for name, text in parameters:
        values[name] = typed(name, text)
    values.update(raw)
    check_names(values, "command line")
    return values


def typed(name: str, text: str) -> Any:
    """A -p value as papermill reads it; a setting that is text stays text (0700 is no number)."""
    setting = Settings.model_fields.get(name)
    if setting is not None and setting.annotation is str:
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


def resolve(
    symbol: str, config: Config, environment: Values, command_line: Values, driven: Values
) -> Resolved:
    """One symbol's settings by precedence, each checked where it came from.

    Parameters
    ----------
    driven : what the driver itself sets (BACKTEST_DIR, RESULT_DIR); beats everything.

    Raises SettingsError that names the place of the offending value.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = [
        (config.source, config.of(symbol)),
        ("environment", environment),
        ("command line", command_line),
    ]
    for source, layer in layers:
        for name, value in layer.items():
            values[name], sources[name] = value, source
    for name in _DRIVEN:
        values.pop(name, None)
        sources.pop(name, None)
    check_names(values, "command line")
    values = {**values, **driven, "SYMBOL": symbol}
    ends = [sources[n] for n in ("MIN_DELTA_TICKS", "MAX_DELTA_TICKS") if n in sources]
    where = f"{symbol} ({', '.join(dict.fromkeys(ends))})" if ends else symbol
    return Resolved(Settings.build(values, symbol).check_range(where), sources)
