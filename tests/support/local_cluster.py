"""A Dask cluster of worker processes on this machine, which keeps a worker that takes long to come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def local_cluster_of(workers: int) -> Iterator[Any]:
    """Start it.

    Dask gives up a worker that has died and is not back within 15 seconds, which a busy machine needs to start one;
    then the cluster has one worker less for good, and a test that kills two waits for ever.

    Args:
        workers: How many, with one thread each.
    """
    import dask
    import distributed

    settings = {"distributed.deploy.lost-worker-timeout": "1h", "distributed.comm.timeouts.connect": "300s"}
    with dask.config.set(settings):
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        try:
            yield cluster
        finally:
            with suppress(TimeoutError):  # it waits for the end of each worker that it has killed, for 5 seconds
                cluster.close()
