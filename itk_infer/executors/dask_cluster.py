"""Dask clusters: a running one, or one whose workers are SLURM jobs."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from itk_infer.errors import ConfigError
from itk_infer.files.folders import make_folder

CONNECT_S = 10.0
ROLES = ("client", "scheduler", "worker")


class Cluster(Protocol):
    """Provides Dask workers."""

    @property
    def workers(self) -> int | None:
        """Requested number of simultaneous cases; None: the number of workers."""
        ...

    @property
    def gpus(self) -> int:
        """GPUs that the worker processes of one job share."""
        ...

    def connect(self) -> Any:
        """Connect, and return a `distributed.Client`."""
        ...

    def disconnect(self, client: Any) -> None:
        """Close the client, and end the jobs that `connect` started."""
        ...


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A Dask cluster that is running already.

    Attributes:
        address: Address of its scheduler, such as ``tcp://head:8786``.
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
                f"`scheduler={self.address}`: no Dask scheduler answers there ({error or 'time-out'})"
            ) from None

    def disconnect(self, client: Any) -> None:
        """See `Cluster.disconnect`."""
        client.close()


@dataclass(frozen=True, slots=True)
class SlurmJobs:
    """A Dask cluster of SLURM jobs, each with one worker process, or one per GPU.

    Attributes:
        folder: Folder that all nodes can read; holds the keys of the connection during the run.
        jobs: Number of jobs.
        queue: Partition; None: the default.
        gpus: GPUs per job.
        cores: CPU cores per job.
        memory: Memory of a job, such as ``16GB``.
        walltime: Time limit of a job, ``HH:MM:SS``.
        directives: Further ``#SBATCH`` lines, such as ``--account=lab``.
    """

    folder: Path
    jobs: int = 1
    queue: str | None = None
    gpus: int = 0
    cores: int = 4
    memory: str = "16GB"
    walltime: str = "24:00:00"
    directives: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """Total number of worker processes."""
        return self.jobs * max(1, self.gpus)

    def connect(self) -> Any:
        """See `Cluster.connect`. Jobs that end early are submitted again."""
        distributed = import_dask()
        from dask_jobqueue import SLURMCluster

        make_folder(self.folder)
        gres = (f"--gres=gpu:{self.gpus}",) if self.gpus else ()
        cluster = SLURMCluster(
            queue=self.queue,
            cores=self.cores,
            processes=max(1, self.gpus),
            memory=self.memory,
            walltime=self.walltime,
            job_extra_directives=[*gres, *self.directives],
            name="itk_infer",
            security=_own_keys(self.folder),
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
        )
        # adapt() instead of scale(), because it replaces jobs whose node has failed.
        cluster.adapt(minimum_jobs=self.jobs, maximum_jobs=self.jobs)
        return distributed.Client(cluster, set_as_default=False)

    def disconnect(self, client: Any) -> None:
        """See `Cluster.disconnect`. Cancels the jobs."""
        jobs = client.cluster
        client.close()
        jobs.close()
        shutil.rmtree(Path(client.security.tls_ca_file).parent, ignore_errors=True)


def _own_keys(folder: Path) -> Any:
    """TLS keys for one run, in files that only this user can read.

    Without them, any host in the network could run code in the scheduler or a worker.
    """
    from distributed import Security

    keys = Security.temporary()
    private = Path(tempfile.mkdtemp(prefix=".itk_infer-keys-", dir=folder))  # only its owner can read it
    files = {"cert": private / "cert.pem", "key": private / "key.pem"}
    files["cert"].write_text(keys.tls_ca_file)
    files["key"].write_text(keys.tls_client_key)
    roles = {f"tls_{role}_{kind}": str(path) for role in ROLES for kind, path in files.items()}
    return Security(require_encryption=True, tls_ca_file=str(files["cert"]), **roles)


def import_dask() -> Any:
    """Import `distributed`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(f"a cluster needs Dask ({error}): pip install 'itk_infer[cluster]'") from None
    return distributed
