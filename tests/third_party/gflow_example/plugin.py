"""What this plugin registers."""

from __future__ import annotations

from gflow_core import hookimpl
from gflow_example import parts

API_VERSION = 2


@hookimpl
def register_samplers(add):
    add("example.affine", parts.Affine)


@hookimpl
def register_objectives(add):
    add("example.energy", parts.Energy)
