"""Encoders: frozen representation networks."""
