"""Numbers from commit to commit: asv's files and site, the gate, and bisection."""
