"""Workers on this machine or on many, by dask.distributed (extra `cluster`)."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gflow_core.errors import GflowError
from gflow_core.files.reading import read_json

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["connected", "local", "require", "spread"]

X = TypeVar("X")
Y = TypeVar("Y")

_LOGGERS = ("distributed", "distributed.client")  # those with handlers of their own
_PACKAGE = "gflow-core"
_ADDRESS = re.compile(r"(tcp|tls|ucx|wss?)://[^/]+:\d{1,5}")
_PATIENCE = 10  # seconds to wait for a scheduler, and for its first worker


def require() -> None:
    """Raise GflowError where the package distributed is missing."""
    if find_spec("distributed") is None:
        raise GflowError('the package distributed is not installed; pip install "gflow-core[cluster]"')


@contextmanager
def local(threads: int, gpus: int = 0) -> Iterator[Client]:
    """A client of a cluster in this process, within the block: one worker with so many threads and GPUs (a resource).

    It is there for work that waits, such as for processes; what computes in Python itself shares one interpreter.
    """
    require()
    from distributed import Client, LocalCluster

    with (
        _silence(),
        LocalCluster(
            n_workers=1,
            threads_per_worker=threads,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},  # its HTTP server takes any port, and leaves 8787 alone
            memory_limit=0,  # dask stops nothing for the memory that the work takes
            silence_logs=logging.CRITICAL,
            resources={"GPU": gpus} if gpus else {},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _silence() -> Iterator[None]:
    """Within the block dask logs nothing to the terminal: what goes wrong is told by whoever waits for the work."""
    import distributed  # sets its handlers up

    del distributed
    handlers = [handler for name in _LOGGERS for handler in logging.getLogger(name).handlers]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at this address (tcp://host:8786), or of this scheduler file, within the block.

    Raises GflowError where none answers, where it has no workers, and where those have no gflow or another one.
    """
    require()
    from distributed import Client

    address = _address(scheduler)
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, OverflowError, TimeoutError) as error:
        raise GflowError(
            f"--scheduler {scheduler}: no dask scheduler answers there; start one with dask scheduler, and name its "
            "address (tcp://HOST:8786) or the file that it was told with --scheduler-file"
        ) from error
    with _silence(), client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise GflowError(f"--scheduler {scheduler}: it has no workers; start some with dask worker") from error
        _check_versions(client, scheduler)
        yield client


def _address(scheduler: str) -> str:
    """The address itself, or the one in this scheduler file. Raises GflowError: dask waits long for what is neither."""
    mend = "name a scheduler's address (tcp://HOST:8786) or the file that it was told with --scheduler-file"
    address = scheduler
    if "://" not in scheduler:
        try:
            address = read_json(Path(scheduler))["address"]
        except OSError as error:
            raise GflowError(f"--scheduler {scheduler}: {error.strerror}; {mend}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise GflowError(f"--scheduler {scheduler}: not a dask scheduler's file; {mend}") from error
    if not (isinstance(address, str) and _ADDRESS.fullmatch(address)):
        raise GflowError(f"--scheduler {scheduler}: not the address of a dask scheduler; {mend}")
    return address


def _check_versions(client: Client, scheduler: str) -> None:
    """Raise GflowError where workers have another gflow: they would die of work that they cannot import."""
    versions: Any = client.get_versions(packages=[_PACKAGE])  # not awaited: a client outside an event loop
    here = versions["client"]["packages"][_PACKAGE]
    for worker, found in versions["workers"].items():
        if (there := found["packages"][_PACKAGE]) != here:
            has = f"{_PACKAGE} {there}" if there else f"no {_PACKAGE}"
            raise GflowError(
                f"--scheduler {scheduler}: the worker {worker} has {has}, here it is {here}; start it from an "
                "environment with the same packages as this one"
            )


def spread(client: Client, function: Callable[[X], Y], items: Iterable[X]) -> Iterator[Y]:
    """function(item) of each item, in the items' order, computed by the workers; two a thread are under way.

    Both are pickled, `function` once. What a lost worker had in hand is computed by another. Raises what `function`
    raises, and GflowError where it does not pickle and where workers die of it; what is under way is then cancelled, as
    when the iterator is closed.
    """
    import dask
    from cloudpickle import loads
    from distributed.scheduler import KilledWorker

    dask_client: Any = client  # its methods are not typed
    # A task, unlike scattered data, can be done again when all that held its result are lost. Networks are large.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        sent = dask_client.submit(loads, _pickled(function), pure=False)
    dask_client.replicate(sent)  # now: fetching it from a worker that has just died takes half a minute
    waiting: deque[Any] = deque()
    try:
        for item in items:
            waiting.append(dask_client.submit(_call, sent, _pickled(item), pure=False))
            if len(waiting) >= 2 * sum(dask_client.nthreads().values()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except KilledWorker as error:
        raise GflowError(
            "--scheduler: workers died again and again over one piece of work; their logs say why (memory?)"
        ) from error
    except ImportError as error:
        raise GflowError(f"--scheduler: {error}, on a worker; it needs the packages that are here") from error
    except (CancelledError, OSError) as error:
        if dask_client.status == "running":
            raise
        raise GflowError("--scheduler: it does not answer any more, and the work is lost; begin again") from error
    finally:
        if dask_client.status == "running":
            dask_client.cancel(list(waiting))


def _pickled(what: object) -> bytes:
    """Bytes, which the scheduler hands on without importing what they are made of."""
    from cloudpickle import dumps

    try:
        packed: bytes = dumps(what)
    except Exception as error:
        raise GflowError(f"the work cannot be sent to workers: {error}; leave out --scheduler") from error
    return packed


def _call(function: Callable[[X], Y], item: bytes) -> Y:
    from cloudpickle import loads

    return function(loads(item))
