"""One symbol: run the template, take the outcome from the executed notebook, publish it all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mm.config import REPO_ROOT
from mm.pipeline.plan import Job
from mm.record import MIME, Outcome, Record, write_outcome, write_text

TEMPLATE = REPO_ROOT / "notebooks" / "poisson_fill_calibration.ipynb"
#: Errors of ours are whole sentences; the class name before them says nothing to a user.
_OURS = ("InputError", "SettingsError", "CalibrationError")


@dataclass(frozen=True)
class SymbolRun:
    """What happened to one symbol."""

    symbol: str
    record: Record


def notebook_name(symbol: str) -> str:
    """File name of a symbol's executed notebook."""
    return f"calibration_{symbol}.ipynb"


def report_name(symbol: str) -> str:
    """File name of a symbol's report."""
    return f"report_{symbol}.html"


def run_symbol(job: Job, out_dir: Path) -> SymbolRun:
    """Calibrate one symbol into ``out_dir/<SYMBOL>``; whatever fails is in the record.

    The folder is replaced as a whole: the old result stands until the new one is complete.
    """
    began = time.monotonic()
    stage = Path(tempfile.mkdtemp(prefix=f".staging-{job.symbol}-", dir=out_dir))
    try:
        record = _staged(job, stage, began)
        publish(stage, out_dir / job.symbol)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return SymbolRun(job.symbol, record)


def _staged(job: Job, stage: Path, began: float) -> Record:
    from mm.report.page import render_report

    notebook = stage / notebook_name(job.symbol)
    error = _execute(job, notebook, stage)
    outcome = read_outcome(notebook) if error is None else None
    if outcome is None:
        record = Record(status="failed", error=error or "the notebook ended without an outcome")
    else:
        record = outcome.record
        write_outcome(outcome, job.symbol, stage)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    record = record.model_copy(
        update={
            "settings": job.resolved.settings.model_dump(mode="json"),
            "settings_from": dict(job.resolved.sources),
            "seconds": round(time.monotonic() - began, 3),
            "finished_utc": finished,
        }
    )
    if notebook.exists():
        facts = {"title": f"{job.symbol} fill calibration", "made": f"Made {finished}"}
        write_text(stage / report_name(job.symbol), render_report(notebook, facts))
    return record


def _execute(job: Job, notebook: Path, stage: Path) -> str | None:
    """Run the template by papermill. Returns None, or one line on what went wrong."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            str(TEMPLATE),
            str(notebook),
            parameters=_parameters(job, stage),
            kernel_name="python3",
            cwd=str(REPO_ROOT),
            progress_bar=False,
            log_output=False,
        )
    except PapermillExecutionError as error:
        if error.ename in _OURS:
            return str(error.evalue)
        return f"{error.ename}: {error.evalue} (cell {error.exec_count})"
    return None


def _parameters(job: Job, stage: Path) -> dict[str, Any]:
    """Plain values of every setting that is not at its default, and of those that place it.

    CONFIG is empty: everything is resolved, so an executed copy says all that it was run with.
    """
    settings = job.resolved.settings
    values = {**settings.changed(), "SYMBOL": settings.SYMBOL}
    values |= {"BACKTEST_DIR": settings.BACKTEST_DIR, "CONFIG": ""}
    if not stage.is_relative_to(REPO_ROOT):
        values["REPO_ROOT"] = str(REPO_ROOT)
    return values


def read_outcome(notebook: Path) -> Outcome | None:
    """The outcome that an executed notebook carries, None if it has none.

    Raises pydantic.ValidationError for one that is not of our schema.
    """
    import nbformat

    document = nbformat.read(notebook, as_version=4)
    for cell in reversed(document.cells):
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                return Outcome.model_validate(output["data"][MIME])
    return None


def publish(stage: Path, target: Path) -> None:
    """Put a staged folder in the place of the old one."""
    umask = os.umask(0)
    os.umask(umask)
    stage.chmod(0o777 & ~umask)  # staging was private; results are for everybody the user lets in
    old = stage.with_name(f"{stage.name}.old")
    if target.exists():
        target.rename(old)
    stage.rename(target)
    shutil.rmtree(old, ignore_errors=True)
