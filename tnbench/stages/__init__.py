"""One case from start to end: prepare, baseline, decompose, train, measure."""
