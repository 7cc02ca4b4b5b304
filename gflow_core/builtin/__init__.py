"""The core's own parts, registered through the same hooks as anyone's."""
