"""The ways of training that plugins extend: options beside the work."""
