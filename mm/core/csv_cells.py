"""Cells of CSV files that people open in a spreadsheet."""

from __future__ import annotations


def safe_cell(value: object) -> object:
    """A cell that no spreadsheet runs as a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
