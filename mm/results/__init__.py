"""What a symbol's calibration leaves: the params file and its record."""
