"""What decided the fills of a log."""

from __future__ import annotations

from typing import Literal

#: ``trade_driven`` fills come from recorded trades, ``poisson`` ones from the consumer's own rule.
FillSource = Literal["trade_driven", "poisson", "mixed", "unknown"]
