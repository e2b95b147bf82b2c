"""Factors to modules: sequences of plain torch convolutions and linear layers."""
