"""Flask blueprints: one module for each group of routes."""
