"""Copies decided slabs to host memory while the device computes the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from itk_infer.volume.slab import DecidedSlab


@dataclass(frozen=True, slots=True)
class DeviceSlab:
    """A decided slab in device memory; see `DecidedSlab`. Labels beyond 255 are int16 of the same bits."""

    z0: int
    labels: torch.Tensor
    masks: torch.Tensor | None
    logits: torch.Tensor | None


def to_host_slabs(slabs: Iterable[DeviceSlab]) -> Iterator[DecidedSlab]:
    """Copy slabs to the host, one behind the device: a slab is waited for only when the next has been decided."""
    waiting: deque[tuple[DeviceSlab, torch.cuda.Event | None]] = deque()
    for slab in slabs:
        copied = DeviceSlab(slab.z0, pinned_copy(slab.labels), _optional(slab.masks), _optional(slab.logits))
        waiting.append((copied, copy_event(slab.labels.device)))
        if len(waiting) > 1:
            yield _arrived(*waiting.popleft())
    for pair in waiting:
        yield _arrived(*pair)


def copy_event(device: torch.device) -> torch.cuda.Event | None:
    """An event that completes when all work queued so far is done; None where the device works synchronously."""
    if device.type != "cuda":
        return None
    event: torch.cuda.Event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def pinned_copy(values: torch.Tensor) -> torch.Tensor:
    """Start an asynchronous copy to pinned host memory; it is complete when the next `copy_event` is."""
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    return pinned.copy_(values, non_blocking=True)


def _optional(values: torch.Tensor | None) -> torch.Tensor | None:
    return None if values is None else pinned_copy(values)


def _arrived(slab: DeviceSlab, event: torch.cuda.Event | None) -> DecidedSlab:
    if event is not None:
        event.synchronize()
    labels = slab.labels.numpy()
    return DecidedSlab(
        slab.z0,
        labels.view(np.uint16) if labels.dtype == np.int16 else labels,
        None if slab.masks is None else slab.masks.numpy(),
        None if slab.logits is None else slab.logits.numpy(),
    )
