"""Where a Dask cluster comes from: one that runs already, or jobs of SLURM that are its workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from itk_infer.errors import ConfigError

CONNECT_S = 10.0


class Cluster(Protocol):
    """Something to connect to."""

    @property
    def workers(self) -> int | None:
        """Cases at a time that were asked for; None: as many as there are workers."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs that the worker processes of one job share."""
        ...

    def connect(self) -> Any:
        """A `distributed.Client`; closing it ends what was started for it."""
        ...


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster that somebody else has started.

    Attributes:
        address: Of its scheduler, such as ``tcp://head:8786``.
    """

    address: str
    workers: int | None = None
    gpus: int = 0

    def connect(self) -> Any:
        """See `Cluster.connect`."""
        distributed = import_dask()
        try:
            return distributed.Client(self.address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--scheduler {self.address}: no Dask scheduler answers there ({error or 'time-out'})"
            ) from None


@dataclass(frozen=True, slots=True)
class SlurmJobs:
    """Jobs of SLURM, each with one worker process, or one for each of its GPUs.

    Attributes:
        jobs: How many.
        queue: Partition; None: the default one.
        gpus: GPUs a job.
        cores: CPU cores a job.
        memory: Of a job, such as ``16GB``.
        walltime: Of a job, ``HH:MM:SS``.
        directives: More lines for ``#SBATCH``, such as ``--account=lab``.
    """

    jobs: int = 1
    queue: str | None = None
    gpus: int = 0
    cores: int = 4
    memory: str = "16GB"
    walltime: str = "24:00:00"
    directives: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """Worker processes in all."""
        return self.jobs * max(1, self.gpus)

    def connect(self) -> Any:
        """See `Cluster.connect`. A job that ends early is submitted again."""
        distributed = import_dask()
        from dask_jobqueue import SLURMCluster

        gres = (f"--gres=gpu:{self.gpus}",) if self.gpus else ()
        cluster = SLURMCluster(
            queue=self.queue,
            cores=self.cores,
            processes=max(1, self.gpus),
            memory=self.memory,
            walltime=self.walltime,
            job_extra_directives=[*gres, *self.directives],
            name="itk_infer",
        )
        # Not scale(): adapt() replaces jobs whose node has died.
        cluster.adapt(minimum_jobs=self.jobs, maximum_jobs=self.jobs)
        client = distributed.Client(cluster, set_as_default=False)
        client._should_close_cluster = True
        return client


def import_dask() -> Any:
    """Dask distributed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(f"a cluster needs Dask ({error}): pip install 'itk_infer[cluster]'") from None
    return distributed
