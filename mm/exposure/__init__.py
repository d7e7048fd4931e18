"""How long quotes rested at which distance, and what filled there."""
