"""What may be skipped: a symbol whose every cause is as it was and whose outputs are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from mm.core.code import tree_digest
from mm.core.config import TEMPLATE, below_root
from mm.core.storage import AnyPath, Remote
from mm.logs.files import RunFiles, digest_of, mark_of
from mm.pipeline.books import read_record
from mm.pipeline.plan import Job
from mm.pipeline.publish import whole
from mm.results.params import versions
from mm.results.record import Record

#: What A, k and the executed notebook follow from; a change elsewhere leaves them as they are.
_CALIBRATION = (
    *("core", "logs", "tape", "exposure", "fitting", "diagnostics", "quotes", "results", "plots"),
    *("calibration.py", "notebook.py"),
)
_PAGES = ("report", "pipeline")
_PAGES_PACKAGES = ("nbconvert", "nbformat", "latex2mathml", "jinja2", "nh3")


def code_marks() -> dict[str, str]:
    """What results follow from beside inputs and settings: digests of the template with the code
    behind numbers and figures (``mm``) and of the code behind pages, versions of all packages."""
    calibration = tree_digest(_CALIBRATION, TEMPLATE.read_bytes())
    return {"mm": calibration, "mm/report": pages_digest(), **versions()}


def code_digest() -> str:
    """Digest of all that decides, with inputs and settings, whether a symbol is run again."""
    only_pages = ("mm/report", *_PAGES_PACKAGES)
    marks = {name: mark for name, mark in code_marks().items() if name not in only_pages}
    return hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()


@cache
def pages_digest() -> str:
    """Digest of what makes pages and mail of executed notebooks: where only this has changed, they
    are made anew without a kernel."""
    return tree_digest(_PAGES, json.dumps([*map(metadata.version, _PAGES_PACKAGES)]).encode())


def fingerprint(job: Job, code: str) -> str:
    """Digest of everything a symbol's result follows from: inputs, settings, code, versions."""
    settings = job.resolved.settings.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps([code, settings], sort_keys=True).encode())
    for name, value in sorted(_input_digests(job.runs).items()):
        digest.update(f"{name}={value}".encode())
    old = settings["OLD_PARAMS_FILE"]
    if old:
        digest.update(_digest(below_root(old)).encode())
    return digest.hexdigest()


def _input_digests(runs: Sequence[RunFiles]) -> Mapping[str, str]:
    return {run.label(path): _digest(path) for run in runs for path in run.paths.values()}


def _digest(path: AnyPath) -> str:
    if isinstance(path, Remote):
        return mark_of(path)
    try:
        return digest_of(path)
    except OSError as error:
        return f"unreadable: {error.errno}"


def unchanged(job: Job, out_dir: Path, print_of_job: str) -> Record | None:
    """The record of a result whose causes are as they were, wherever its files may be."""
    record = read_record(out_dir, job.symbol)
    if record is None or record.status == "failed" or record.fingerprint != print_of_job:
        return None
    return record


def finished(job: Job, out_dir: Path, print_of_job: str) -> Record | None:
    """The record of a result that still holds, None if the symbol must run."""
    record = unchanged(job, out_dir, print_of_job)
    return record if record and whole(out_dir / job.symbol, record.outputs) else None
