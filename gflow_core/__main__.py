"""`python -m gflow_core` is `gflow`."""

from gflow_core.machine.signals import end_at_once

__all__ = ["main"]


def main() -> None:
    """The command line."""
    end_at_once("interrupted\n")  # while it is imported; then each command takes signals its own way
    from gflow_core.cli import main

    main(prog_name="gflow")


if __name__ == "__main__":
    main()
