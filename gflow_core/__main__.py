"""`python -m gflow_core` is `gflow`."""

from gflow_core.cli import main

main(prog_name="gflow")
