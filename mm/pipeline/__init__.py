"""From a data folder to results: plan a run, run the template once a symbol, publish, report."""
