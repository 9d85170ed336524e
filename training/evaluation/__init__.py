"""Evaluation: metrics, corruptions, out-of-distribution sets, plots and the model card."""
