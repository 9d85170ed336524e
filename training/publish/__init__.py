"""SavedModel and TFLite files, provenance, and the registry of versions."""
