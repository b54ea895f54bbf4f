"""The placement of workers: GPU, among those that the scheduler allows, and number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itk_infer.errors import ConfigError
from itk_infer.machine import usable_cores

VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Placement:
    """GPU and number of threads of one worker.

    Attributes:
        device: Overrides the option `device`; None: the option holds.
        visible: Value of `VARIABLE` in the worker; None: unchanged. Only for slices of a GPU (MIG),
            because CUDA shows a process only the first of them.
        threads: CPU threads of the network.
    """

    device: str | None = None
    visible: str | None = None
    threads: int = 1


def place_workers(
    workers: int | None,
    *,
    gpus: int | None = None,
    gpu_ids: Sequence[int] | None = None,
    threads: int | None = None,
    visible: str | None = None,
) -> tuple[Placement, ...]:
    """Worker i runs on GPU i mod the number of GPUs; without GPUs, workers share the cores.

    Args:
        workers: Number of workers; None: one per GPU, or one without GPUs.
        gpus: Use only the first `gpus` of the visible GPUs.
        gpu_ids: Use these GPUs instead, counted from 0 among the visible ones.
        threads: CPU threads per worker; None: an equal share of the usable cores.
        visible: The value of `VARIABLE`; None if it is not set.

    Raises:
        ConfigError: requested GPUs are not available.
    """
    ids = list(gpu_ids) if gpu_ids is not None else list(range(gpus or 0))
    count = workers or max(1, len(ids))
    share = threads or max(1, usable_cores() // count)
    if not ids:
        return (Placement(threads=share),) * count
    allowed = _allowed(visible)
    if allowed is not None and max(ids) >= len(allowed):
        raise ConfigError(
            f"GPU {max(ids)} is asked for, but {VARIABLE}={visible} allows {len(allowed)} (counted from 0)"
        )
    return tuple(_on_gpu(ids[worker % len(ids)], allowed, share) for worker in range(count))


def _on_gpu(number: int, allowed: list[str] | None, threads: int) -> Placement:
    if allowed is not None and allowed[number].startswith("MIG-"):
        return Placement("cuda:0", allowed[number], threads)
    return Placement(f"cuda:{number}", None, threads)


def _allowed(visible: str | None) -> list[str] | None:
    """Entries of the list up to the first invalid one, as CUDA reads it; None: no limit is set."""
    if visible is None:
        return None
    allowed = []
    for entry in (part.strip() for part in visible.split(",")):
        if not (entry.isdecimal() or entry.startswith(("GPU-", "MIG-"))):
            break
        allowed.append(entry)
    return allowed
