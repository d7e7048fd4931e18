"""The page of a symbol that failed: what happened, where, the last lines, what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat

from mm.report import words
from mm.report.provenance import provenance
from mm.report.render import render
from mm.report.top import Box
from mm.results.record import ErrorKind, Record

_LAST_LINES = 25
_LONGEST_LINE = 400
# Colours, cursor moves and window titles: everything that an escape character starts.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_REMEDIES: dict[ErrorKind, tuple[str, ...]] = {
    "input": (
        "Mend the file or the setting that the line above names; the rest of it says how.",
        "Run the symbol again: its old result, if there was one, has no parameters any more.",
    ),
    "exception": (
        "Open the notebook beside this page, go to the cell named below, and run it by hand.",
        "If the input is as the README says, this is a fault of the program: report it with the "
        "lines and the hashes below.",
    ),
    "dead_kernel": (
        "The process was killed, most often for want of memory: run fewer symbols at a time "
        "(--jobs 1), or a shorter log.",
        "If it dies again at the same cell, report it with the hashes below.",
    ),
    "deadline": (
        "Give it more time (--deadline), fewer symbols at a time (--jobs), or a shorter log.",
    ),
    "lost_worker": (
        "The workers that had it ended, most often for want of memory: run the symbol again, on "
        "workers with more of it or with fewer symbols at a time.",
    ),
    "unwritable": (
        "Free space, mind limits and rights, or name another folder with --out-dir; then run the "
        "same command again.",
    ),
    "internal": (
        "The program around the notebook failed, not the calibration: run the symbol again with "
        "--debug and report what it says.",
    ),
}
_BESIDE = "The notebook, as far as it got, is beside this page: it can be run on by hand."
_KINDS: dict[ErrorKind, str] = {
    "input": "The input or a setting can't be used.",
    "exception": "The notebook raised an exception.",
    "dead_kernel": "The process that ran the notebook died.",
    "deadline": "It took longer than it may.",
    "lost_worker": "The workers that ran it were lost.",
    "unwritable": "The results could not be written.",
    "internal": "The program around the notebook failed.",
}


def render_failure(symbol: str, record: Record, notebook_path: Path | None) -> str:
    """The failure page of a symbol as HTML text; ``notebook_path``: as far as it got, if it did."""
    document = _read(notebook_path)
    kind = record.error_kind or ("exception" if document is not None else "internal")
    what = record.error or _error_line(document) or "It ended without a result and without a word."
    where, code = _where(document, record)
    return render(
        "failure",
        title=f"{symbol} fill calibration",
        status="failed",
        verdict=Box("failed", _KINDS[kind], (words.sentence(readable(what)),)),
        todo=[*_REMEDIES[kind], *([_BESIDE] if document is not None else [])],
        where=where,
        code=code,
        lines=last_lines(document),
        provenance=provenance(record),
    )


def readable(text: str) -> str:
    """Text without terminal colours and other characters that print nothing."""
    plain = _ANSI.sub("", text).expandtabs(4)
    return "".join(c for c in plain if c == "\n" or c.isprintable())


def last_lines(document: Any) -> str:
    """The end of the last traceback, or of what was last printed to stderr."""
    found: list[str] = []
    for cell in document.cells if document is not None else ():
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found = list(output.get("traceback") or [f"{output.ename}: {output.evalue}"])
            elif output.output_type == "stream" and output.get("name") == "stderr":
                found = [str(output.get("text", ""))]
    lines = [line.rstrip() for line in readable("\n".join(found)).splitlines()]
    kept = [line[:_LONGEST_LINE] for line in lines if line.strip("- ")]
    return "\n".join(kept[-_LAST_LINES:])


def _read(path: Path | None) -> Any:
    """A notebook, None if there is none or a killed run left half of it."""
    try:
        return nbformat.read(path, as_version=4) if path is not None and path.is_file() else None
    # nbformat raises what JSON, its schemas and its converters raise.
    except Exception:
        return None


def _error_line(document: Any) -> str:
    lines = last_lines(document).splitlines()
    return lines[-1] if lines else ""


def _where(document: Any, record: Record) -> tuple[str, str]:
    """Which cell it was, under which heading, and its first lines."""
    if document is None:
        return "Before the notebook started, so there is no cell to look at.", ""
    heading, count = "", 0
    for cell in document.cells:
        if cell.cell_type == "markdown":
            titles = [line.lstrip("# ") for line in cell.source.splitlines() if line[:1] == "#"]
            heading = titles[-1] if titles else heading
            continue
        count = cell.get("execution_count") or count
        failed = any(o.output_type == "error" for o in cell.get("outputs", []))
        if failed or (record.error_cell is not None and count == record.error_cell):
            source = "\n".join(cell.source.splitlines()[:6])
            section = f", under “{heading}”" if heading else ""
            number = f"Cell {count}" if count else "A cell"
            return f"{number}{section}:", source
    return (f"After cell {count}." if count else "Before the first cell."), ""
