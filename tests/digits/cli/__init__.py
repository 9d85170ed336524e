"""Tests of the command `digits`."""
