"""Papermill's engine, without the saves that nobody reads."""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine, papermill_engines

ENGINE = "mm-saved-once"


class SavedOnceEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """Runs a notebook as papermill does and saves it before the first cell and at the end.

    Papermill saves the whole notebook twice a cell: some 70 times here, four fifths of the
    driver's CPU. A run that ends early, for whatever reason, still saves what it has.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> None:
        """Run all cells; raises what papermill's own engine raises."""
        path, nb_man.output_path = nb_man.output_path, None
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        except BaseException:
            nb_man.output_path = path  # `execute_notebook` saves only what ran to its end
            raise


papermill_engines.register(ENGINE, SavedOnceEngine)
