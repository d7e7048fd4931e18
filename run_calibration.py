#!/usr/bin/env python3
"""Calibrate every symbol of a backtest folder: see --help and README.md."""

import signal
import sys

if sys.version_info < (3, 11):  # noqa: UP036  an older Python must get one clear line
    sys.exit("run_calibration.py: needs Python 3.11 or newer; this is " + sys.version.split()[0])

try:
    from mm.pipeline.cli import command

    if __name__ == "__main__":
        command()
except KeyboardInterrupt:  # before the command line was read
    print("interrupted", file=sys.stderr)
    sys.exit(130)
finally:
    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said: end with its code
