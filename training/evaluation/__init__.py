"""Metrics, robustness, out-of-distribution sets, plots and the model card."""
