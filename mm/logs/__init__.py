"""From files to one checked log of a symbol."""
