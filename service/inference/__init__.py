"""Model files -> predictions: loading, runtimes, batching. Imports neither HTTP code nor imaging."""
