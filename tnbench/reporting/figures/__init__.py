"""Figures: matplotlib and seaborn drawings as inline SVG."""
