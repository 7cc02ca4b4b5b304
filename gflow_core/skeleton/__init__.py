"""A new plugin from a skeleton, for `gflow new-plugin`: under template/ lies what a plugin begins with."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from string import Template

from gflow_core.errors import GflowError
from gflow_core.parts.plugins import plugins

__all__ = ["create"]

_TEMPLATE = Path(__file__).parent / "template"


def create(name: str, into: Path) -> Path:
    """Write the distribution gflow-NAME into a new folder INTO/gflow-NAME, and return that.

    Its files are those of template/, with NAME in their paths and $name in their texts replaced. Raises GflowError for
    a name that cannot be a plugin's or is taken, and for a folder that is there already; nothing is written then.
    """
    if fault := _fault(name):
        raise GflowError(f"{name}: {fault}")
    folder = into / f"gflow-{name}"
    if folder.exists():
        raise GflowError(f"{folder}: it is there already; choose another name, or another place with --into")
    aside: Path | None = None
    try:
        into.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".gflow-{name}-", dir=into))  # whole or not there
        for source in sorted(_TEMPLATE.rglob("*.template")):
            path = aside / str(source.relative_to(_TEMPLATE)).replace("NAME", name).removesuffix(".template")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(source.read_text(encoding="utf-8")).substitute(name=name), encoding="utf-8")
        aside.chmod(0o777 & ~_umask())  # mkdtemp's folder is its owner's alone
        os.rename(aside, folder)
    except OSError as error:
        raise GflowError(f"{folder}: cannot be written: {error.strerror}; choose another place with --into") from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _fault(name: str) -> str | None:
    """Why no plugin can be called so."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):  # gflow-NAME is to be a distribution's name as well
        meant = re.sub(r"[^a-z0-9]+", "_", name.lower()).lstrip("0123456789_").strip("_")
        example = f", such as {meant}" if meant else ""
        wanted = "lower-case letters and digits, single _ between them, and begins with a letter"
        return f"a plugin's name is of {wanted}{example}"
    loaded = plugins()
    for record in loaded.records:
        if record.name == name:
            return f"{record.dist} {record.version} is a plugin of this name; choose another"
    if name in loaded.left_out or find_spec(f"gflow_{name}"):
        return f"gflow_{name} is installed already; choose another"
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
