"""Read long files in whole columns; any doubt sends them to the row reader."""
