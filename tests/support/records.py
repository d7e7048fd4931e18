"""Records as a run leaves them, made by hand, and names that people must never have to trust."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from mm.registry.ledger import Score
from mm.results.record import Record

#: Names and reasons that break pages, tables, headers and paths that are not careful.
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "';document.title='owned';'",
    "../../etc/passwd",
    "..",
    "=cmd|' /C calc'!A0",
    "\u202eTDSUCTB\u2066",
    "ﺎﻠﻌﺮﺒﻳﺓ",
    "L" * 200,
    "A\r\nBcc: thief@example.org",
    "{{ 7*7 }} ${7*7} %s",
    "</td></tr></table><h1>x",
)


def record(A: float = 1.0, k: float = 0.3, **more: Any) -> Record:
    """An estimate with standard errors of 10 % in A and 0.02 in k, correlated as a fit's are."""
    v_a, v_k, cov = 0.01, 0.0004, 0.0012
    star = cov / v_k
    rate = A * math.exp(-k * star)
    se = math.sqrt(v_a - cov**2 / v_k)
    quoted = [
        {"delta": d, "per_hour": 3600 * A * math.exp(-k * d), "ci95": None, "quoted": True}
        for d in (1.0, 2.0, 5.0)
    ]
    fields: dict[str, Any] = {
        "status": "ok",
        "A": A,
        "k": k,
        "ci95": {
            "A": [A * math.exp(-1.96 * 0.1), A * math.exp(1.96 * 0.1)],
            "k": [k - 1.96 * 0.02, k + 1.96 * 0.02],
        },
        "cov_logA_k": [[v_a, cov], [cov, v_k]],
        "lambda_at": {
            "delta_star": star,
            "lambda": rate,
            "ci95": [rate * math.exp(-1.96 * se), rate * math.exp(1.96 * se)],
        },
        "lambda_quoted": quoted,
        "replay": {
            "given": 310.0,
            "ci95": [270, 352],
            "observed": 321,
            "given_by_original": 12.0,
            "given_by_old_params": None,
            "by_placement": [
                {
                    "from_delta": low,
                    "to_delta": high,
                    "orders": 400,
                    "rest_s": 2000.0,
                    "observed": seen,
                    "given": given,
                    "ci95": ends,
                    "inside": inside,
                }
                for low, high, seen, given, ends, inside in (
                    (1, 2, 200, 210.0, (182, 238), True),
                    (2, 6, 121, 100.0, (81, 119), False),
                )
            ],
            "by_fill": [],
        },
        "n_fills": 321,
        "exposure_s": 4000.0,
        "tick_size": 0.5,
        "dt_ms": 100,
        "fill_source": "trade_driven",
        "inputs_sha256": {"orders.csv": f"{A}{k}"},
        "finished_utc": "2026-11-22T09:30:00+00:00",
        **more,
    }
    return Record.model_validate(fields)


def failed(error: str = "orders_X.csv, row 7: no number", **more: Any) -> Record:
    """A symbol that failed."""
    return Record(status="failed", error=error, error_kind="input", **more)


def results(out_dir: Path, symbol: str, report: bytes = b"<!DOCTYPE html><p>report") -> None:
    """The files that a symbol's run leaves, small, with a figure in the notebook."""
    folder = out_dir / symbol
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.new("P", (72, 46)).save(buffer, "png")
    v4: Any = nbformat.v4
    cell = v4.new_code_cell("plots.fit(intensity, estimate)", id="fit-figure")
    data = {
        "image/png": base64.b64encode(buffer.getvalue()).decode(),
        "text/plain": f"The fit of {symbol}",
    }
    cell.outputs = [v4.new_output("display_data", data, metadata={"image/png": {"width": 720}})]
    (folder / f"calibration_{symbol}.ipynb").write_text(
        nbformat.writes(v4.new_notebook(cells=[cell])), encoding="utf-8"
    )
    (folder / f"report_{symbol}.html").write_bytes(report)
    (folder / f"params_{symbol}.json").write_text("{}")
    (folder / f"points_{symbol}.csv").write_text(
        "delta_mean,exposure_s,lambda_events_per_s\n0.5,100,0.9\n1.5,200,0.6\n4.5,50,0\n"
    )


#: A forecast that held.
HIT = Score(
    symbol="AAA",
    version="v",
    registered_utc="",
    prospective=True,
    window_ms=(0, 1),
    inputs_sha256={},
    seen=100,
    expected=100.0,
    interval=(80, 120),
    z=0.0,
    number=(0.5, 0.5),
    space=0.5,
    gain_constant=0.2,
    gain_previous=None,
    levels=(),
)
