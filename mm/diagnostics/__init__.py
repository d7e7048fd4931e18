"""An estimate held against its log, and the verdict."""
