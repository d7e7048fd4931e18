"""What a run says while it goes and when it is over."""

from __future__ import annotations

from pathlib import Path

import click

from mm.pipeline.symbol import SymbolRun, notebook_name
from mm.record import Record

_COLOUR = {"ok": "green", "warn": "yellow", "refused": "magenta", "failed": "red"}
_ORDER = ("ok", "warn", "refused", "failed")


class Console:
    """One line as each symbol ends; the troubled ones again at the end, with where to look."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._runs: list[SymbolRun] = []

    def done(self, run: SymbolRun) -> None:
        """Say how one symbol ended."""
        self._runs.append(run)
        count = f"[{len(self._runs)}/{self._total}]"
        status = click.style(f"{run.record.status:8}", fg=_COLOUR[run.record.status])
        click.echo(f"{count} {run.symbol:12} {status}{_facts(run.record)}")

    def close(self, out_dir: Path) -> None:
        """The summary: counts, and each refused or failed symbol with its notebook."""
        counts = {s: sum(r.record.status == s for r in self._runs) for s in _ORDER}
        click.echo(" · ".join(f"{n} {status}" for status, n in counts.items() if n))
        for status in ("refused", "failed"):
            for run in sorted(self._runs, key=lambda r: r.symbol):
                if run.record.status == status:
                    look = out_dir / run.symbol / notebook_name(run.symbol)
                    click.echo(f"{run.symbol}: {status}: {run.record.reason}", err=True)
                    if look.exists():
                        click.echo(f"  look at {look}", err=True)
        click.echo(f"results in {out_dir}")


def _facts(record: Record) -> str:
    if record.status in ("refused", "failed"):
        return record.reason
    facts = f"A = {record.A:.4g} /s, k = {record.k:.4g} /tick, {record.n_fills} fills"
    return f"{facts}; {record.reason}" if record.reason else facts
