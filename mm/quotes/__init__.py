"""From A, k and the volatility of mid to the quotes that a market maker should set."""
