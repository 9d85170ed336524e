"""Prometheus metrics, and the reference distribution that drift is measured against."""
