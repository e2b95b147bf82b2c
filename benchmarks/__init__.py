"""Benchmarks that asv and pytest-benchmark run over cases of tnbench; see docs/history.md."""
