"""Which parameters are live: immutable versions, what may take their place, and who did it when."""
