"""Scenarios by name, and the demo data that `data/` ships."""

from __future__ import annotations

from mm.simulate.scenario import Burst, Scenario

DEMO_SEED = 20250101

# name: (what it is for, scenario)
SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "clean": ("moving mid, whole fills, quotes replaced every 3 s", Scenario()),
    "ttl": ("orders expire 2 s after they became active", Scenario(ttl_ms=2000)),
    "bursts": (
        "all intensities x4 in bursts of 10 s, a fifth of the time",
        Scenario(A=0.8, burst=Burst(multiplier=4.0, share=0.2, mean_length_s=10.0)),
    ),
    "power_law": (
        "intensity A*(1 + d)^-1.5 instead of an exponential",
        Scenario(A=0.68, shape="power", power_p=1.5, power_delta0=1.0),
    ),
    "sides": (
        "sells fill half as often as buys and decay faster",
        Scenario(A_multiplier=(1.0, 0.5), k_multiplier=(1.0, 1.3)),
    ),
    "rejects": ("a fifth of the placements is rejected", Scenario(reject_share=0.2)),
    "outage": (
        "no state rows for 90 s in all, quotes stay resting",
        Scenario(outages=((120.0, 60.0), (400.0, 30.0))),
    ),
    "partials": ("half of the first fills are partial", Scenario(partial_share=0.5)),
    "per_tick": (
        "one independent draw a state row with dt_ms = 100, whole fills",
        Scenario(fill_mode="per_tick", dt_ms=100),
    ),
    "signed": (
        "intensity keeps rising when mid runs through a quote",
        Scenario(distance="signed", volatility=2.0),
    ),
    "all_at_once": (
        "TTL, cancels on move, rejects, partial fills and an outage",
        Scenario(
            ttl_ms=8000,
            requote_ticks=3.0,
            dwell_ms=6000,
            reject_share=0.03,
            partial_share=0.25,
            outages=((240.0, 12.0),),
        ),
    ),
}

# One symbol per tick size; liquid and calm (BTCUSDT) to thin and jumpy (SOLUSDT). Row gaps of
# a quarter second and quotes that rest for many seconds keep the files small.
DEMO: tuple[Scenario, ...] = (
    Scenario(
        symbol="BTCUSDT",
        A=0.16,
        k=0.3,
        tick_size=1.0,
        price_grid=0.1,
        mid_price=94_500.0,
        volatility=0.8,
        duration_s=2400.0,
        state_gap_ms=200,
        outages=((900.0, 20.0),),
        deltas_ticks=(1.0, 2.0, 3.0, 5.0, 8.0),
        dwell_ms=12_000,
        requote_ticks=3.0,
        ttl_ms=10_000,
        reject_share=0.02,
        partial_share=0.2,
        lot_size=0.0001,
        quote_lots=20,
    ),
    Scenario(
        symbol="ETHUSDT",
        A=0.12,
        k=0.22,
        tick_size=0.1,
        price_grid=0.01,
        mid_price=3_350.0,
        volatility=1.2,
        duration_s=2700.0,
        state_gap_ms=250,
        outages=((1500.0, 12.0),),
        deltas_ticks=(1.0, 2.0, 4.0, 7.0, 11.0),
        dwell_ms=15_000,
        requote_ticks=5.0,
        ttl_ms=12_000,
        reject_share=0.03,
        partial_share=0.15,
        lot_size=0.001,
        quote_lots=10,
    ),
    Scenario(
        symbol="SOLUSDT",
        A=0.1,
        k=0.45,
        tick_size=0.01,
        price_grid=0.01,
        mid_price=190.0,
        volatility=0.6,
        duration_s=3600.0,
        state_gap_ms=250,
        outages=((600.0, 30.0), (2400.0, 8.0)),
        deltas_ticks=(0.5, 1.5, 2.5, 4.5),
        dwell_ms=20_000,
        requote_ticks=2.0,
        ttl_ms=15_000,
        reject_share=0.05,
        partial_share=0.15,
        lot_size=0.1,
        quote_lots=12,
    ),
    Scenario(
        symbol="XRPUSDT",
        A=0.15,
        k=0.25,
        fill_mode="per_tick",
        dt_ms=200,
        tick_size=0.0001,
        price_grid=0.0001,
        mid_price=2.3,
        volatility=0.7,
        duration_s=2400.0,
        state_gap_ms=200,
        outages=((1200.0, 15.0),),
        deltas_ticks=(1.0, 2.0, 4.0, 7.0),
        dwell_ms=15_000,
        requote_ticks=3.0,
        ttl_ms=12_000,
        reject_share=0.02,
        lot_size=1.0,
        quote_lots=50,
    ),
)
