"""Virtual orders that rest on a trade tape: from prints and best quotes to the three tables."""
