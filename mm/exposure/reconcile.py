"""The data-loss budget: every order-ms and every fill row is used or set aside under a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm.core.display import Table, html
from mm.logs.intervals import END_NAMES, RestingIntervals

#: Names of what is lost where the mid is too old.
IN_OUTAGE = "outage (mid older than MAX_STATE_GAP_MS)"
FILLED_IN_OUTAGE = "first fill in an outage"


@dataclass(frozen=True)
class Counts:
    """Of one run: time that its orders rested, fill rows, orders and ignored rows by name."""

    rested_ms: int
    fill_rows: dict[str, int]
    orders: dict[str, int]
    ignored_actions: dict[str, int]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, own: RestingIntervals) -> Counts:
        """Those of its resting intervals."""
        ended = np.bincount(own.ended_by, minlength=len(END_NAMES)).tolist()
        return cls(
            rested_ms=int((own.end_ms - own.start_ms).sum()),
            fill_rows=dict(own.fill_rows),
            orders={
                "accepted": len(own.order_id) - len(own.goes_on),
                **{f"ended by {name}": n for name, n in zip(END_NAMES, ended, strict=True)},
                "of these with an empty interval": int(
                    np.count_nonzero(own.end_ms == own.start_ms)
                ),
                "ended before they were active": own.n_reversed,
                "rejected (no interval)": own.n_rejected,
            },
            ignored_actions=dict(own.ignored_actions),
            warnings=own.warnings,
        )


@dataclass(frozen=True)
class Reconciliation:
    """Counts by name. ``order_ms`` adds up to the time accepted orders rested, ``fill_rows`` to
    the rows of the fills file, ``orders`` counts accepted and other orders."""

    order_ms: Mapping[str, int]
    fill_rows: Mapping[str, int]
    orders: Mapping[str, int]
    ignored_actions: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        order_ms: Mapping[str, int],
        fill_rows: Mapping[str, int],
        counts: Sequence[Counts],
    ) -> Reconciliation:
        """Add the counts of all runs and check the sums against what came in.

        Raises ArithmeticError where they differ.
        """
        rested = sum(of_run.rested_ms for of_run in counts)
        rows = sum(sum(of_run.fill_rows.values()) for of_run in counts)
        if sum(order_ms.values()) != rested or sum(fill_rows.values()) != rows:
            raise ArithmeticError(
                f"exposure does not reconcile: {sum(order_ms.values())} of {rested} order-ms, "
                f"{sum(fill_rows.values())} of {rows} fill rows"
            )
        orders: Counter[str] = Counter()
        ignored: Counter[str] = Counter()
        for of_run in counts:
            orders.update(of_run.orders)
            ignored.update(of_run.ignored_actions)
        warnings = tuple(text for of_run in counts for text in of_run.warnings)
        return cls(order_ms, fill_rows, dict(orders), dict(ignored), warnings)

    @property
    def exposure_s(self) -> float:
        """Exposure that is used, seconds."""
        return self.order_ms["used"] / 1000.0

    @property
    def in_outages(self) -> tuple[float, float]:
        """Shares of the time that orders rested and of the first fills that outages hide."""
        rested = sum(self.order_ms.values())
        hidden = self.fill_rows.get(FILLED_IN_OUTAGE, 0)
        first = hidden + self.fill_rows.get("event", 0)
        return self.order_ms.get(IN_OUTAGE, 0) / max(rested, 1), hidden / max(first, 1)

    def rows(self) -> list[tuple[str, str, float]]:
        """(what, name, amount): order-seconds, fill rows, orders, ignored rows."""
        out = [("order-seconds", name, ms / 1000.0) for name, ms in self.order_ms.items()]
        out += [("fill rows", name, float(n)) for name, n in self.fill_rows.items()]
        out += [("orders", name, float(n)) for name, n in self.orders.items()]
        out += [("ignored rows", f"action {n}", float(c)) for n, c in self.ignored_actions.items()]
        return out

    def _repr_html_(self) -> str:
        totals = {
            "order-seconds": sum(self.order_ms.values()) / 1000.0,
            "fill rows": float(sum(self.fill_rows.values())),
        }
        rows, last = [], ""
        for what, name, amount in self.rows():
            if not amount and name != "used":
                continue
            if what != last and what in totals:
                rows.append((what, "in the log", _amount(what, totals[what])))
                last = what
            rows.append(("" if what == last else what, name, _amount(what, amount)))
            last = what
        return html(Table(("what", "where it went", "amount"), rows))


def _amount(what: str, amount: float) -> str:
    return f"{amount:,.3f}" if what == "order-seconds" else f"{amount:,.0f}"
