"""Other engines' files as the three tables: order events and quotes, one module an engine."""
