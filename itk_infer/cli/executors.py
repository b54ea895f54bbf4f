"""Options that choose the executor, and the executor that they describe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.options import Decorator, decorated, flags_of, option
from itk_infer.options_of_models import WORKERS

if TYPE_CHECKING:
    from itk_infer.classify.part import ClassifierRequest
    from itk_infer.executors.executor import Executor
    from itk_infer.executors.gpus import Placement
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.executors.runner import Opener

CLUSTER = "Cluster"
LOCAL_ONLY = {"num_proc": "--num-proc", "gpus": "--gpus", "gpu_ids": "--gpu-ids"}
JOB_OPTIONS = ("jobs", "queue", "gpus_per_job", "cores_per_job", "memory", "walltime", "sbatch")


def local_options(default: str = "one") -> list[Decorator]:
    """Worker processes on this machine, and their GPUs; `default` is how many there are without them, in words."""
    positive = click.IntRange(min=1)
    return [
        option(
            "--num-proc",
            heading=WORKERS,
            type=positive,
            metavar="N",
            help=f"Worker processes; default {default}, or one per GPU of --gpus.",
        ),
        option("--gpus", heading=WORKERS, type=positive, metavar="N", help="Use the first N visible GPUs."),
        option("--gpu-ids", heading=WORKERS, metavar="0,2", help="Or these of the visible GPUs, counted from 0."),
    ]


def timeout_option(help: str) -> Decorator:
    """The time limit of a case, or of another task."""
    limit = click.FloatRange(min=0, min_open=True)
    return option("--case-timeout", heading=WORKERS, type=limit, metavar="S", help=help)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Worker processes on this machine, of which each computes a case."""
    options = [
        *local_options(),
        *flags_of("threads"),
        timeout_option("Fail a case that takes longer than S seconds."),
    ]
    return decorated(command, options)


def execution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Worker processes, shards and clusters."""
    shard = option(
        "--shard",
        heading=WORKERS,
        metavar="[i/N]",
        is_flag=False,
        flag_value="",
        help="Only every N-th case, from the i-th; without a value, the part of this SLURM array task.",
    )
    return place_options(decorated(command, [shard, *cluster_options()]))


def cluster_options() -> list[Decorator]:
    """Workers on a cluster."""
    positive = click.IntRange(min=1)
    return [
        option("--scheduler", heading=CLUSTER, metavar="ADDRESS", help="Compute on a running Dask cluster."),
        option(
            "--cluster",
            heading=CLUSTER,
            type=click.Choice(["slurm"]),
            help="Start workers as jobs, and compute there.",
        ),
        option("--jobs", heading=CLUSTER, type=positive, metavar="N", help="Jobs at a time; default 1."),
        option("--queue", heading=CLUSTER, metavar="NAME", help="Partition that jobs are submitted to."),
        option("--gpus-per-job", heading=CLUSTER, type=positive, metavar="N", help="One worker process per GPU."),
        option("--cores-per-job", heading=CLUSTER, type=positive, metavar="N", help="Cores of a job; default 4."),
        option("--memory", heading=CLUSTER, metavar="SIZE", help="Memory of a job; default 16GB."),
        option("--walltime", heading=CLUSTER, metavar="HH:MM:SS", help="Time limit of a job; default 24:00:00."),
        option(
            "--sbatch", heading=CLUSTER, multiple=True, metavar="LINE", help="One more #SBATCH line; repeatable."
        ),
    ]


def wants_executor(options: Mapping[str, Any]) -> bool:
    """Whether workers are requested, or needed to end what takes too long; some commands have none by default."""
    return any(options[name] for name in (*LOCAL_ONLY, "scheduler", "cluster", *JOB_OPTIONS, "case_timeout"))


def make_executor(
    request: ModelRequest | ClassifierRequest, output: Path, opener: Opener | None = None, **options: Any
) -> Executor:
    """The executor for the options of `execution_options`.

    Args:
        request: The model.
        output: The output folder.
        opener: Loads the model for tasks other than cases.
        **options: The parameters of the command.

    Raises:
        click.UsageError: options contradict each other.
        ConfigError: requested GPUs are not available.
    """
    if options["scheduler"] is None and options["cluster"] is None:
        given = [name for name in JOB_OPTIONS if options[name]]
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} needs --cluster")
        return _local(request, opener, **options)
    return _cluster(request, output, opener, **options)


def _local(request: ModelRequest | ClassifierRequest, opener: Opener | None, **options: Any) -> Executor:
    from itk_infer.executors.runner import open_cases
    from itk_infer.executors.workers import Workers

    placements = placements_of(request, **options)
    return Workers(request, placements, options.get("case_timeout"), opener or open_cases)


def placements_of(request: ModelRequest | ClassifierRequest, **options: Any) -> tuple[Placement, ...]:
    """Device and threads of the workers, for the options of `place_options`.

    Raises:
        click.UsageError: options contradict each other.
        ConfigError: requested GPUs are not available.
    """
    from itk_infer.executors.gpus import VARIABLE, place_workers

    return place_workers(
        options["num_proc"],
        gpus=options["gpus"],
        gpu_ids=_gpu_ids(options["gpus"], options["gpu_ids"], request.options.device),
        threads=options["threads"],
        visible=os.environ.get(VARIABLE),
    )


def _cluster(
    request: ModelRequest | ClassifierRequest, output: Path, opener: Opener | None, **options: Any
) -> Executor:
    for name, flag in LOCAL_ONLY.items():
        if options[name] is not None:
            raise click.UsageError(f"{flag} is about this machine; a cluster has as many workers as it has")
    if options["scheduler"] is not None:
        given = [name for name in ("cluster", *JOB_OPTIONS) if options[name]]
        if given:
            raise click.UsageError(
                f"--scheduler names a running cluster; leave out --{given[0].replace('_', '-')}"
            )
    from itk_infer.executors.dask import DaskCluster
    from itk_infer.executors.dask_cluster import Cluster, RunningCluster, SlurmJobs
    from itk_infer.executors.runner import open_cases

    cluster: Cluster
    if options["scheduler"] is not None:
        cluster = RunningCluster(options["scheduler"])
    else:
        cluster = SlurmJobs(
            folder=output.absolute(),
            jobs=options["jobs"] or 1,
            queue=options["queue"],
            gpus=options["gpus_per_job"] or 0,
            cores=options["cores_per_job"] or 4,
            memory=options["memory"] or "16GB",
            walltime=options["walltime"] or "24:00:00",
            directives=options["sbatch"],
        )
    # Workers may have another current folder.
    source, limit = request.absolute(), options.get("case_timeout")
    return DaskCluster(source, cluster, options["threads"], limit, opener or open_cases)


def _gpu_ids(gpus: int | None, gpu_ids: str | None, device: str) -> list[int] | None:
    """The numbers of ``--gpu-ids``; None if it was not given."""
    if (gpus is not None or gpu_ids is not None) and device not in ("auto", "cuda"):
        raise click.UsageError(
            f"--device {device} names one device, --gpus and --gpu-ids several; give one of them"
        )
    if gpu_ids is None:
        return None
    if gpus is not None:
        raise click.UsageError("--gpus and --gpu-ids exclude each other")
    words = [word.strip() for word in gpu_ids.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise click.UsageError(
            f"--gpu-ids {gpu_ids}: give different numbers with commas between them, such as 0,2"
        )
    return [int(word) for word in words]
