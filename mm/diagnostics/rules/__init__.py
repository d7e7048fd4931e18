"""The rules of the verdict: what is refused, what is warned of, what is a note.

Refused only where a number would be wrong or missing; a warning needs a size that matters.
"""

from __future__ import annotations

from collections.abc import Iterator

from mm.core.settings import Settings
from mm.diagnostics.diagnose import Diagnostics
from mm.diagnostics.rules import files, inputs, model, tape, time
from mm.diagnostics.verdict import Finding
from mm.exposure.accounts import Accounts
from mm.fitting.estimate import Estimate
from mm.logs.load import BacktestLog


def findings(
    log: BacktestLog,
    accounts: Accounts,
    estimate: Estimate,
    found: Diagnostics | None,
    settings: Settings,
) -> Iterator[Finding]:
    """Every finding on one symbol; of one level, in the order of their weight."""
    tick, reconciliation = accounts.tick, accounts.reconciliation
    yield from files.of_clocks(log, accounts.clocks, accounts.mids)
    yield from files.of_never_ended(log, accounts.open_orders)
    yield from inputs.of_tick_unknown(accounts, settings)
    yield from files.of_mids(accounts.mids, tick)
    yield from files.of_rows(log, settings)
    yield from inputs.of_outages(reconciliation, settings)
    yield from model.of_estimate(estimate, sum(reconciliation.fill_rows.values()), settings)
    if found is not None and estimate.fit is not None:
        yield from model.of_level(found, estimate, settings)
        yield from model.of_shape(found, estimate, settings)
        yield from time.of_time(found, estimate, settings)
        yield from model.of_use(found, estimate, settings)
        yield from inputs.of_mid_clock(found, settings)
    yield from inputs.of_time_step(log, estimate, accounts.mids)
    yield from inputs.of_tick(tick)
    yield from inputs.of_source(log)
    yield from tape.of_tape(log, settings)
    yield from inputs.of_takers(reconciliation)
    yield from inputs.of_runs(log)
    yield from inputs.of_cut_runs(log, reconciliation)
    yield from inputs.of_log(log, reconciliation.warnings)
