"""The vocabulary of tnbench, in the standard library alone: cases, records, metrics, settings, plug-ins, errors."""
