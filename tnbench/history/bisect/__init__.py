"""Bisection: the commit that changed a metric, or broke a case."""
