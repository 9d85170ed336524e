"""Measurements of what the README claims. A benchmark is not a test: nothing here passes or fails."""
