"""Backtest logs with a known truth: what the estimator must recover, drawn without its help.

Nothing here imports the rest of `mm`, so an error there cannot hide itself in here.
`python -m mm.simulate OUT_DIR` writes a data folder.
"""

from mm.simulate.log import SimulatedLog, simulate
from mm.simulate.scenario import Burst, Scenario

__all__ = ["Burst", "Scenario", "SimulatedLog", "simulate"]
