"""A device as the place where a volume lives and is decided."""

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
    """See `Workspace`. The CPU is a device, too: what can be tried without a GPU is tried there.

    Args:
        device: As torch names it.
        most: Bytes that may be used there, whatever is free; kept for good on a GPU.
        slab_bytes: Float32 logits of a slab at most.
    """

    prefetch_calls = 1  # the device works on the next windows while the host looks at the last ones

    def __init__(self, device: str, most: int | None = None, slab_bytes: int = DEVICE_SLAB_BYTES) -> None:
        self._device = torch.device(device)
        self._most = most
        self.slab_bytes = slab_bytes
        if self._device.type != "cuda":
            return
        torch.cuda.set_device(self._device)  # or pinned memory would belong to the first one
        if most is not None:
            total = torch.cuda.get_device_properties(self._device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), self._device)

    def room(self) -> int | None:
        """Bytes that a case may need besides the network; None where nothing is known of it.

        A tenth of what is free is left to the network, whose needs are not known before it runs.
        """
        if self._device.type != "cuda":
            return self._most
        taken = torch.cuda.memory_allocated(self._device)
        free, _ = torch.cuda.mem_get_info(self._device)
        # What torch keeps for later is free to it.
        free += torch.cuda.memory_reserved(self._device) - taken
        return int(0.9 * (free if self._most is None else min(free, self._most - taken)))

    def put(self, array: NDArray[Any]) -> torch.Tensor:
        """See `Workspace.put`; in the type in which it was stored."""
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)

    def accumulator(self, channels: int, depth: int, plane: tuple[int, int]) -> DeviceAccumulator:
        """See `Workspace.accumulator`."""
        return DeviceAccumulator(channels, depth, plane, self._device)

    def finite(self, windows: torch.Tensor) -> Callable[[], list[bool]]:
        """See `Workspace.finite`. Minimum and maximum see NaN and infinity without a mask of the window."""
        low, high = torch.aminmax(windows.flatten(1), dim=1)
        found = pinned_copy(low.isfinite() & high.isfinite())
        event = copy_event(windows.device)

        def told() -> list[bool]:
            if event is not None:
                event.synchronize()
            flags: list[bool] = found.tolist()
            return flags

        return told

    def decider(self, decision: Decision, model: ModelGrid, want_logits: bool) -> DeviceDecider:
        """See `Workspace.decider`."""
        return DeviceDecider(decision, model, want_logits, self._device, self.slab_bytes)


def ran_out(error: Exception) -> bool:
    """Whether a device had no memory left, for the network or for what is around it."""
    return isinstance(error, torch.OutOfMemoryError | OutOfMemoryError) or "out of memory" in str(error)
