"""Benchmarks behind the figures in the documents. They print tables; nothing here passes or fails."""
