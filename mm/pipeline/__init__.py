"""From a data folder to results: plan a batch, run the template once a symbol, publish, report."""
