"""Parses request bodies in processes of their own, with limits on time and memory; a crash costs one response."""
