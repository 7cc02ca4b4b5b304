"""JSON objects that tell whether they are as they were written: each carries the sha256 of the rest of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["SEAL", "changed", "digest", "sealed"]

SEAL = "sha256"
"""The key under which an object carries it."""


def sealed(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` as JSON has it, with its sha256 as the last key."""
    plain = {key: value for key, value in json.loads(json.dumps(body)).items() if key != SEAL}
    return {**plain, SEAL: digest(plain)}


def changed(body: Mapping[str, Any]) -> bool:
    """Whether an object was changed after it was sealed. One without a seal, as earlier versions wrote, is not."""
    return SEAL in body and body[SEAL] != digest({key: value for key, value in body.items() if key != SEAL})


def digest(body: Mapping[str, Any]) -> str:
    """The sha256 of an object's JSON."""
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()
