"""Tests of the client: no service runs, responses are scripted."""
