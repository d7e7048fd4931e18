"""Papermill's engine, without the saves that nobody reads."""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine, papermill_engines

ENGINE = "mm-saved-once"


class SavedOnceEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """Runs a notebook as papermill does and saves it at the end.

    Papermill saves the whole notebook twice a cell: some 70 times here, four fifths of the
    driver's CPU. A run that ends early, for whatever reason, still saves what it has.
    """

    @classmethod
    def execute_notebook(
        cls, nb: Any, kernel_name: str, output_path: str | None = None, **kwargs: Any
    ) -> Any:
        """Run all cells; `papermill.execute_notebook` saves what ran to its end."""
        return super().execute_notebook(nb, kernel_name, save_to=output_path, **kwargs)

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, save_to: str | None = None, **kwargs: Any
    ) -> None:
        """Run all cells; raises what papermill's own engine raises."""
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        except BaseException:
            nb_man.output_path = save_to
            raise


papermill_engines.register(ENGINE, SavedOnceEngine)
