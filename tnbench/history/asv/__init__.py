"""asv: an environment for each commit, results from the store, and its site without a network."""
