"""Settings: names, types and ranges, and which place wins where several speak."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from papermill.cli import _resolve_type

from mm.core.config import typed
from mm.core.errors import CalibrationError, SettingsError
from mm.core.settings import Settings
from mm.pipeline.plan import Plan, Request, make_plan


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the names of three symbols; planning reads names only."""
    folder = tmp_path / "data"
    folder.mkdir()
    for symbol in ("AAA", "BBB", "0700"):
        (folder / f"orders_{symbol}.csv").touch()
    return folder


def plan(data: Path | None, environ: Mapping[str, str] | None = None, **given: Any) -> Plan:
    return make_plan(Request(data_dir=data, **given), environ or {})


def symbols(found: Plan) -> list[str]:
    return [job.symbol for job in found.jobs]


def settings(found: Plan, symbol: str = "AAA") -> Settings:
    return next(job.resolved.settings for job in found.jobs if job.symbol == symbol)


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "pydantic" not in text
    return text


# --- names, types, ranges --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"parameters": [("TICK_SISE", "1")]}, "command line"),
        ({"raw": [("TICK_SISE", "1")]}, "command line"),
        ({"yamls": ["TICK_SISE: 1"]}, "command line"),
    ],
)
def test_unknown_name_is_an_error_with_the_likely_one(
    data: Path, given: dict[str, Any], source: str
) -> None:
    with pytest.raises(SettingsError) as error:
        plan(data, **given)
    text = one_line(error)
    assert text.startswith(source)
    assert "TICK_SISE" in text
    assert "did you mean TICK_SIZE?" in text


@pytest.mark.parametrize(
    "text", ["defaults: {TICK_SISE: 1}", "symbols: {AAA: {TICK_SISE: 1}}"], ids=["all", "one"]
)
def test_unknown_name_in_the_file_names_the_file_and_the_likely_one(data: Path, text: str) -> None:
    (data / "calibration.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"calibration\.yaml.*TICK_SISE.*TICK_SIZE\?"):
        plan(data)


@pytest.mark.parametrize("name", ["tick_size", "BTC", "__class__", "model_config", ""])
def test_a_name_is_taken_as_it_is_written(name: str) -> None:
    with pytest.raises(SettingsError, match="is not a setting"):
        Settings.build({name: 1})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TICK_SIZE", 0, "greater than 0"),
        ("TICK_SIZE", -0.1, "greater than 0"),
        ("TICK_SIZE", float("nan"), "greater than 0|finite"),
        ("TICK_SIZE", float("inf"), "finite"),
        ("TICK_SIZE", "0,1", "number"),
        ("TICK_SIZE", [0.1], "number"),
        ("TICK_SIZE", True, "truth value"),
        ("MIN_DELTA_TICKS", -1, "greater than or equal to 0"),
        ("MIN_DELTA_TICKS", None, "number"),
        ("MAX_DELTA_TICKS", "far", "number"),
        ("POISSON_DT_MS", 0, "greater than or equal to 1"),
        ("POISSON_DT_MS", 12.5, "integer"),
        ("MAX_STATE_GAP_MS", 0, "greater than or equal to 1"),
        ("BLOCK_S", 0, "greater than 0"),
        ("MIN_FILLS", 1, "greater than or equal to 2"),
        ("MAX_SET_ASIDE_FRACTION", 1.5, "less than or equal to 1"),
        ("FIT_METHOD", "mle", "poisson_mle.*log_linear"),
        ("DISTANCE", "Signed", "absolute.*signed"),
        ("BACKTEST_DIR", None, "string"),
    ],
)
def test_wrong_values_name_source_setting_found_and_expected(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.build({name: value}, "environment")
    text = one_line(error)
    assert text.startswith(f"environment: {name}: found ")
    assert re.search(expected, text.split("found ", 1)[1])
    if not isinstance(value, bool):
        assert repr(value) in text


def test_a_file_with_a_wrong_value_is_named_with_the_section(data: Path) -> None:
    (data / "calibration.yaml").write_text("symbols: {BBB: {TICK_SIZE: wide}}")
    with pytest.raises(SettingsError) as error:
        plan(data)
    text = one_line(error)
    assert str(data / "calibration.yaml") in text
    assert "BBB: TICK_SIZE: found 'wide'" in text


def test_an_empty_range_of_distances_is_an_error_against_the_default_too(data: Path) -> None:
    with pytest.raises(SettingsError, match="60") as error:
        plan(data, parameters=[("MIN_DELTA_TICKS", "60")])  # MAX_DELTA_TICKS is 50
    assert "MAX_DELTA_TICKS" in one_line(error)


def test_an_empty_range_of_two_places_names_the_stronger_place(data: Path) -> None:
    (data / "calibration.yaml").write_text("defaults: {MIN_DELTA_TICKS: 10}")
    with pytest.raises(SettingsError) as error:
        plan(data, parameters=[("MAX_DELTA_TICKS", "5")])
    text = one_line(error)
    assert "MIN_DELTA_TICKS" in text
    assert "MAX_DELTA_TICKS" in text
    assert "command line" in text, "the place of the value that does not fit"


@pytest.mark.parametrize(
    ("file", "given"),
    [
        ("defaults: {MAX_DELTA_TICKS: 400}\nsymbols: {AAA: {MIN_DELTA_TICKS: 60}}", {}),
        ("defaults: {MAX_DELTA_TICKS: 400}", {"parameters": [("MIN_DELTA_TICKS", "60")]}),
        ("defaults: {MIN_DELTA_TICKS: 60}", {"parameters": [("MAX_DELTA_TICKS", "400")]}),
    ],
    ids=["file-and-file", "file-and-option", "option-and-file"],
)
def test_only_the_settings_together_must_make_a_range(
    data: Path, file: str, given: dict[str, Any]
) -> None:
    # 60 is above the default of MAX_DELTA_TICKS, which another place raises
    (data / "calibration.yaml").write_text(file)
    found = settings(plan(data, **given))
    assert (found.MIN_DELTA_TICKS, found.MAX_DELTA_TICKS) == (60.0, 400.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"No such file.*given as 'no/old\.json', looked for below"),
        ("{", "not JSON"),
        ('{"A": -1.0, "k": 0.3}', "column A: found -1.0"),
    ],
)
def test_old_params_that_cannot_be_used_are_told_before_anything_runs(
    data: Path, text: str | None, said: str
) -> None:
    old = "no/old.json" if text is None else str(data / "old.json")
    if text is not None:
        (data / "old.json").write_text(text)
    with pytest.raises(SettingsError, match=said) as error:
        plan(data, parameters=[("OLD_PARAMS_FILE", old)])
    assert one_line(error).startswith("command line: OLD_PARAMS_FILE: ")
    (data / "calibration.yaml").write_text(f"symbols: {{AAA: {{OLD_PARAMS_FILE: '{old}'}}}}")
    with pytest.raises(SettingsError, match=said) as error:
        plan(data)
    assert "calibration.yaml" in one_line(error)
    (data / "old.json").write_text('{"A": 1.0, "k": 0.3}')
    (data / "calibration.yaml").unlink()
    plan(data, parameters=[("OLD_PARAMS_FILE", str(data / "old.json"))])


# --- precedence ------------------------------------------------------------------------------


def test_defaults_file_environment_command_line_in_conflict(data: Path) -> None:
    config = data / "calibration.yaml"
    config.write_text(
        "defaults: {MIN_FILLS: 11, BLOCK_S: 31, MAX_STATE_GAP_MS: 1001, MAX_DELTA_TICKS: 41}\n"
        "symbols: {AAA: {BLOCK_S: 32, MAX_STATE_GAP_MS: 1002, MAX_DELTA_TICKS: 42}}\n"
    )
    environ = {"MAX_STATE_GAP_MS": "1003", "MAX_DELTA_TICKS": "43"}
    found = plan(data, environ, parameters=[("MAX_DELTA_TICKS", "44")])
    one, other = settings(found, "AAA"), settings(found, "BBB")
    names = ("MIN_EXPOSURE_S", "MIN_FILLS", "BLOCK_S", "MAX_STATE_GAP_MS", "MAX_DELTA_TICKS")
    assert [getattr(one, n) for n in names] == [5.0, 11, 32.0, 1003, 44.0]
    assert [getattr(other, n) for n in names] == [5.0, 11, 31.0, 1003, 44.0]
    assert (one.SYMBOL, other.SYMBOL) == ("AAA", "BBB")
    sources = dict(next(j.resolved.sources for j in found.jobs if j.symbol == "AAA"))
    file_at = {n: sources.pop(n) for n in ("MIN_FILLS", "BLOCK_S")}
    assert all(place.startswith(str(config)) for place in file_at.values())
    assert sources == {"MAX_STATE_GAP_MS": "environment", "MAX_DELTA_TICKS": "command line"}


def test_a_default_on_the_command_line_beats_the_file(data: Path) -> None:
    (data / "calibration.yaml").write_text("defaults: {MAX_DELTA_TICKS: 5, TICK_SIZE: 0.1}")
    found = plan(data, parameters=[("MAX_DELTA_TICKS", "50"), ("TICK_SIZE", "None")])
    assert settings(found).MAX_DELTA_TICKS == 50.0
    assert settings(found).TICK_SIZE is None


def test_config_option_replaces_the_folder_s_file(data: Path, tmp_path: Path) -> None:
    (data / "calibration.yaml").write_text("defaults: {MIN_FILLS: 11, BLOCK_S: 31}")
    other = tmp_path / "other settings.yml"
    other.write_text("defaults: {MIN_FILLS: 12}")
    found = settings(plan(data, config=other))
    assert (found.MIN_FILLS, found.BLOCK_S) == (12, 60.0)


def test_out_dir_in_the_environment_is_the_backtest_s_folder(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "state_CCC.csv").touch()
    assert symbols(plan(None, {"OUT_DIR": str(data)})) == ["0700", "AAA", "BBB"]
    assert symbols(plan(None, {"OUT_DIR": str(data), "BACKTEST_DIR": str(other)})) == ["CCC"]
    found = plan(None, {"OUT_DIR": str(data)}, parameters=[("BACKTEST_DIR", str(other))])
    assert symbols(found) == ["CCC"]
    found = plan(other, {"OUT_DIR": str(data)})
    assert (symbols(found), settings(found, "CCC").BACKTEST_DIR) == (["CCC"], str(other))
    assert found.out_dir.name == "out", "OUT_DIR must not move the results"


@pytest.mark.parametrize("option", ["parameters", "raw"])
def test_one_data_folder_is_named_once_and_not_empty(data: Path, option: str) -> None:
    with pytest.raises(SettingsError, match="--data-dir and the parameter BACKTEST_DIR"):
        plan(data, **{option: [("BACKTEST_DIR", "x")]})
    with pytest.raises(SettingsError, match="BACKTEST_DIR: found ''"):
        plan(None, {"BACKTEST_DIR": str(data)}, **{option: [("BACKTEST_DIR", "")]})


def test_empty_variables_are_unset(data: Path) -> None:
    # `export OUT_DIR=` is how a shell takes one back; an empty option is an error instead
    found = plan(data, {"TICK_SIZE": "", "SYMBOL": "", "OUT_DIR": "", "BACKTEST_DIR": ""})
    assert symbols(found) == ["0700", "AAA", "BBB"]
    assert settings(found).TICK_SIZE is None


# --- papermill's options ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("True", "False", "None", "true", "1", "-3", "+3", "1_000", "007", "1.5", "1e-3", ".5"),
        *("nan", "inf", "1,5", "0x10", "", " 7", "x"),
    ],
)
def test_p_reads_values_as_papermill_does(text: str) -> None:
    ours, theirs = typed("TICK_SIZE", text), _resolve_type(text)
    assert type(ours) is type(theirs)
    assert repr(ours) == repr(theirs)


def test_p_leaves_text_settings_alone_and_r_leaves_everything(data: Path) -> None:
    assert symbols(plan(data, parameters=[("SYMBOL", "0700")])) == ["0700"]
    assert symbols(plan(data, raw=[("SYMBOL", "0700")])) == ["0700"]
    found = plan(data, parameters=[("TICK_SIZE", "1e-1")], raw=[("MIN_FILLS", "12")])
    assert (settings(found).TICK_SIZE, settings(found).MIN_FILLS) == (0.1, 12)
    with pytest.raises(SettingsError, match="TICK_SIZE: found 'None'"):
        plan(data, raw=[("TICK_SIZE", "None")])


def test_order_of_papermill_s_options(data: Path, tmp_path: Path) -> None:
    files = []
    for number in (1, 2):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(f"{{MIN_FILLS: {10 + number}, BLOCK_S: {20 + number}}}")
    found = plan(
        data,
        files=files,
        yamls=["{BLOCK_S: 23, MAX_STATE_GAP_MS: 33}", "{MAX_STATE_GAP_MS: 34}"],
        parameters=[("MAX_STATE_GAP_MS", "35"), ("MAX_DELTA_TICKS", "45")],
        raw=[("MAX_DELTA_TICKS", "46")],
    )
    one = settings(found)
    assert (one.MIN_FILLS, one.BLOCK_S) == (12, 23.0)
    assert (one.MAX_STATE_GAP_MS, one.MAX_DELTA_TICKS) == (35, 46.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SYMBOL: 0700", "SYMBOL.*448.*quote"),  # YAML 1.1 reads octal
        ("SYMBOL: ON", "SYMBOL.*truth value.*quote"),
        ("TICK_SIZE: ON", "TICK_SIZE.*truth value"),
        ("FIT_METHOD: no", "FIT_METHOD.*truth value.*quote"),
        ("TICK_SIZE", "NAME: value"),
        ("[1, 2]", "NAME: value"),
        ("{TICK_SIZE: 1", "not YAML"),
        ("TICK_SIZE: !!python/object:os.system ls", "not YAML"),
        ("{1: 2}", "1 is not a setting"),
    ],
)
def test_yaml_surprises_get_a_clear_line(data: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        plan(data, yamls=[text])
    assert len(one_line(error)) < 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbols: {0700: {TICK_SIZE: 1}}", "448.*quotes"),
        ("symbols: {ON: {TICK_SIZE: 1}}", "True.*quotes"),
        ("defaults: {TICK_SIZE: ON}", "TICK_SIZE.*truth value"),
        ("defaults: [TICK_SIZE]", "defaults.*NAME: value"),
        ("TICK_SIZE: 1", "'TICK_SIZE' at the top.*defaults: and symbols:"),
        ("defaults: {SYMBOL: AAA}", "SYMBOL can't be set here"),
        ("defaults: {", "not YAML"),
    ],
)
def test_a_bad_file_gets_a_clear_line(data: Path, text: str, said: str) -> None:
    path = data / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said) as error:
        plan(data)
    assert one_line(error).startswith(str(path))


@pytest.mark.parametrize("way", ["folder", "config", "files", "yamls"])
def test_a_key_that_stands_twice_is_an_error_with_its_lines(data: Path, way: str) -> None:
    text = "MIN_FILLS: 11\nBLOCK_S: 30\nMIN_FILLS: 12\n"
    path = data / "calibration.yaml" if way == "folder" else data / "other.yml"
    ways: dict[str, dict[str, Any]] = {"config": {"config": path}, "files": {"files": [path]}}
    given = ways.get(way, {})
    if way == "yamls":
        given = {"yamls": [text]}
    indented = "  " + text.rstrip().replace("\n", "\n  ")
    path.write_text(text if way == "files" else f"symbols:\n AAA:\n{indented}\n")
    with pytest.raises(SettingsError, match=r"MIN_FILLS stands twice, in lines \d and \d") as error:
        plan(data, **given)
    assert one_line(error).startswith("-y" if way == "yamls" else str(path))


def test_what_yaml_merges_may_be_set_anew(data: Path) -> None:
    (data / "calibration.yaml").write_text(
        "defaults: &all {MIN_FILLS: 11, BLOCK_S: 31}\nsymbols: {AAA: {<<: *all, BLOCK_S: 32}}\n"
    )
    assert settings(plan(data)).BLOCK_S == 32.0


# --- which symbols ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "given"),
    [
        ({"SYMBOL": "BBB"}, {}),
        ({}, {"parameters": [("SYMBOL", "BBB")]}),
        ({"SYMBOL": "AAA"}, {"parameters": [("SYMBOL", "BBB")]}),
        ({"SYMBOL": "AAA"}, {"symbols": "BBB"}),
        ({"SYMBOL": "NOT_THERE"}, {"symbols": "BBB"}),
    ],
)
def test_symbol_by_any_way_selects(
    data: Path, environ: dict[str, str], given: dict[str, Any]
) -> None:
    assert symbols(plan(data, environ, **given)) == ["BBB"]


def test_several_symbols_keep_their_order_and_count_once(data: Path) -> None:
    assert symbols(plan(data, symbols=" BBB, AAA,,BBB")) == ["BBB", "AAA"]


@pytest.mark.parametrize("option", ["parameters", "raw"])
def test_symbols_and_symbol_together_are_an_error(data: Path, option: str) -> None:
    with pytest.raises(SettingsError, match="--symbols and the parameter SYMBOL"):
        plan(data, symbols="AAA", **{option: [("SYMBOL", "BBB")]})


def test_an_unknown_symbol_comes_with_the_likely_one(data: Path) -> None:
    with pytest.raises(SettingsError, match=r"'AAX'.*did you mean AAA\?") as error:
        plan(data, symbols="AAX")
    assert str(data) in one_line(error)


BAD_SYMBOLS = ["../AAA", "A/B", "A\\B", ".A", "-A", "A B", "A\nB", "A\0", "A..B", "A" * 101, "A*"]


@pytest.mark.parametrize("symbol", BAD_SYMBOLS)
def test_symbols_that_cannot_be_file_names_are_errors(data: Path, symbol: str) -> None:
    for source in ("environment", "command line"):
        with pytest.raises(SettingsError, match=r"can't be part of a file name"):
            Settings.build({"SYMBOL": symbol}, source)
    with pytest.raises(CalibrationError):
        plan(data, symbols=symbol)


@pytest.mark.parametrize(
    "symbol", ["0700", "BRK.B", "BTC-USDT", "BTCUSD_PERP", "ES=F", "BTC@x", "日経225"]
)
def test_names_of_real_symbols_are_fine(data: Path, symbol: str) -> None:
    (data / f"fills_{symbol}.csv").touch()
    assert symbols(plan(data, symbols=symbol)) == [symbol]


def test_one_oddly_named_file_stops_no_other_symbol(data: Path) -> None:
    # what a browser makes of a second download; it must not take the whole batch down
    (data / "orders_AAA (1).csv").touch()
    assert {"AAA", "BBB", "0700"} <= set(symbols(plan(data)))
