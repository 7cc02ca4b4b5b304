"""A TOML file becomes a checked Spec."""
