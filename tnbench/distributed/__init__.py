"""Launching the processes of a parallel case."""
