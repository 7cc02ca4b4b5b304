"""Frozen representation networks."""
