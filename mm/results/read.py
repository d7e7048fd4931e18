"""Parameters read back from a file: one of ours, or anybody's JSON with A and k."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mm.core.errors import InputError

if TYPE_CHECKING:
    from mm.fitting.fill_model import PoissonFillModel


def read_fill_model(path: Path, tick_size: float) -> PoissonFillModel:
    """Parameters from a params file, or from anybody's JSON with A, k and dt_ms.

    ``tick_size`` stands in where the file has none. Raises InputError, one line.
    """
    # Only here: the driver, which reads A and k, loads no statistics.
    from mm.fitting.fill_model import PoissonFillModel

    numbers = {"dt_ms": 100.0, "tick_size": tick_size, **read_numbers(path)}
    # The consumer casts dt_ms to a whole number.
    return PoissonFillModel(numbers["A"], numbers["k"], int(numbers["dt_ms"]), numbers["tick_size"])


def read_numbers(path: Path) -> dict[str, float]:
    """A and k of such a file, and dt_ms and tick_size if it has them.

    Raises InputError, one line.
    """
    if path.exists() and not path.is_file():  # a named pipe would be waited for, for ever
        raise InputError("is no regular file", where=path, remedy="give a params file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=path) from None
    except ValueError:
        raise InputError("not JSON", where=path, remedy="give a params file") from None
    there = content if isinstance(content, dict) else {}
    numbers = {}
    for name in ("A", "k", *(n for n in ("dt_ms", "tick_size") if n in there)):
        value = there.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InputError(
                f"found {value!r}, expected a positive number", where=path, column=name
            )
        numbers[name] = float(value)
    return numbers
