"""From exposure and events to A, k and how sure they are."""
