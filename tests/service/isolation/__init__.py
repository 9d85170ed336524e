"""Tests of service.isolation."""
