"""`gflow report`: a page about one run, or a comparison of several, in one HTML file that needs nothing else.

    RUN/report.html      pictures as data URIs, styles, script and plotly.js inline

One file rather than links into the run folder, so that it can be mailed, archived or copied without breaking. What
that costs is plotly.js, 4.8 MB of text (1.5 MB zipped): the Python package ships only the full bundle, and packing
it by other means would need a build step or a decompressor in the page. A page without curves leaves it out. Pictures
are limited (`pictures.BUDGET`); what is left out is said. A content security policy forbids the page every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from gflow_core.errors import GflowError, for_people
from gflow_core.files.whole import written_aside
from gflow_core.report.page import comparison_page, run_page
from gflow_core.report.read import read
from gflow_core.runs.summary import runs_of

__all__ = ["Page", "write_report"]

NAME = "report.html"


@attrs.frozen
class Page:
    """A page that was written."""

    path: Path
    missing: tuple[str, ...]
    """What it had to leave out, a sentence each."""

    def __fspath__(self) -> str:
        return str(self.path)


@for_people
def write_report(runs: Sequence[Path], out: Path | str | None = None, only: Sequence[str] = ()) -> Page:
    """Write the page of one run, or the comparison of several.

    A folder that is no run but holds some, as a sweep's does, stands for these. `out` is a folder, made where it is
    missing: by default the run's own, and `report/` for a comparison. `only` names the analyses that count, all by
    default. Raises GflowError where a folder is no run, an analysis is not there, or the page cannot be written.
    """
    paths = runs_of(runs)
    those = [read(path) for path in paths]
    found = list(dict.fromkeys(analysis.name for run in those for analysis in run.analyses))
    for name in only:
        if name not in found:
            raise GflowError(f"no run has an analysis {name} (there are {', '.join(found) or 'none'})")
    if len(those) == 1:
        html, missing = run_page(those[0], only)
        folder = paths[0]
    else:
        html, missing = comparison_page(those, only)
        folder = Path("report")
    if out is not None:
        folder = Path(out)
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            # Names may hold what is no text (lone surrogates); it must not cost the page.
            aside.write_bytes(html.encode("utf-8", "replace"))
    except OSError as error:
        raise GflowError(f"{path}: cannot be written: {error.strerror or error}; choose another folder") from error
    return Page(path, tuple(missing))
