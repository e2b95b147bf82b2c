"""Public checks of plug-ins, one kit per kind."""
