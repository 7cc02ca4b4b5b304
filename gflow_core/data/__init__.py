"""Data sets, decoding, and the feed that training reads from."""
