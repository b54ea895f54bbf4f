"""A workspace on a torch device: volume, sums and decision are held there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from itk_infer.engine.decision import Decision
from itk_infer.engine.device.accumulator import DeviceAccumulator
from itk_infer.engine.device.decider import DeviceDecider
from itk_infer.engine.device.to_host import copy_event, pinned_copy
from itk_infer.engine.workspace import DEVICE_SLAB_BYTES
from itk_infer.errors import OutOfMemoryError
from itk_infer.volume.interpolation import ModelGrid


class DeviceWorkspace:
    """See `Workspace`. With the device ``cpu`` it needs no GPU, for tests.

    Args:
        device: Name of the torch device.
        max_bytes: Maximum device memory to use, even if more is free. On a GPU the limit is then set for the
            whole process. None: all memory.
        slab_bytes: Maximum bytes of a slab's float32 logits.
    """

    prefetch_calls = 1  # the device computes the next windows while the host reads the results of the last ones

    def __init__(self, device: str, max_bytes: int | None = None, slab_bytes: int = DEVICE_SLAB_BYTES) -> None:
        self._device = torch.device(device)
        self._max_bytes = max_bytes
        self.slab_bytes = slab_bytes
        if self._device.type != "cuda":
            return
        torch.cuda.set_device(self._device)  # otherwise pinned memory would belong to the first GPU
        if max_bytes is not None:
            total = torch.cuda.get_device_properties(self._device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, max_bytes / total), self._device)

    def room(self) -> int | None:
        """Bytes that a case may use besides the network; None if the free memory is not known.

        A tenth of the free memory is reserved for the network, whose memory is not known before it runs.
        """
        if self._device.type != "cuda":
            return self._max_bytes
        taken = torch.cuda.memory_allocated(self._device)
        free, _ = torch.cuda.mem_get_info(self._device)
        # Memory that torch has reserved but not allocated can be used as well.
        free += torch.cuda.memory_reserved(self._device) - taken
        return int(0.9 * (free if self._max_bytes is None else min(free, self._max_bytes - taken)))

    def put(self, array: NDArray[Any]) -> torch.Tensor:
        """See `Workspace.put`; keeps the stored number type."""
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)

    def accumulator(
        self, channels: int, depth: int, plane: tuple[int, int], floor: float = 0.0
    ) -> DeviceAccumulator:
        """See `Workspace.accumulator`."""
        return DeviceAccumulator(channels, depth, plane, self._device, floor)

    def finite(self, windows: torch.Tensor) -> Callable[[], list[bool]]:
        """See `Workspace.finite`. Minimum and maximum propagate NaN and infinity, so no mask is needed."""
        low, high = torch.aminmax(windows.flatten(1), dim=1)
        copied = pinned_copy(low.isfinite() & high.isfinite())
        event = copy_event(windows.device)

        def flags() -> list[bool]:
            if event is not None:
                event.synchronize()
            values: list[bool] = copied.tolist()
            return values

        return flags

    def decider(
        self, decision: Decision, model: ModelGrid, want_logits: bool, want_uncertainty: bool = False
    ) -> DeviceDecider:
        """See `Workspace.decider`."""
        return DeviceDecider(decision, model, want_logits, self._device, self.slab_bytes, want_uncertainty)


def ran_out(error: Exception) -> bool:
    """Whether an exception means that device memory ran out, in the network or around it."""
    return isinstance(error, torch.OutOfMemoryError | OutOfMemoryError) or "out of memory" in str(error)
