"""Where a case is computed: on the backend's device if it fits there, else in host memory."""

from __future__ import annotations

import copy
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from itk_infer.case.plan import CasePlan
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.memory import Memory
from itk_infer.engine.workspace import Workspace
from itk_infer.machine import MIB, MemoryBound, memory_bound

if TYPE_CHECKING:
    from itk_infer.engine.device.workspace import DeviceWorkspace

# What SimpleITK takes once a case needs it, by key of /proc/self/status.
SIMPLEITK = {"RssAnon": 32 * MIB, "VmRSS": 96 * MIB, "VmSize": 280 * MIB, "VmData": 16 * MIB}


class Workspaces:
    """The workspaces that are available, and their memory bounds.

    Args:
        tensor_device: Device whose tensors the backend takes; None: only host memory is used.
        threads: Threads for the work on the host.
        max_ram: Bytes of host memory that a case may need besides the network; None: what the machine, the
            container and ``ulimit`` leave now.
        max_vram: Bytes of device memory that may be used; None: what is free.

    Attributes:
        host: The workspace in host memory.
    """

    def __init__(self, tensor_device: str | None, threads: int, max_ram: int | None, max_vram: int | None) -> None:
        self.host = HostWorkspace(threads)
        self._max_ram = max_ram
        self._device: DeviceWorkspace | None = None
        if tensor_device is not None:
            from itk_infer.engine.device.workspace import DeviceWorkspace

            self._device = DeviceWorkspace(tensor_device, max_vram)

    @cached_property
    def bound(self) -> MemoryBound | None:
        """Host memory that a case may need besides libraries, measured once; None if it is not known."""
        if self._max_ram:
            return MemoryBound(self._max_ram, "it may have (`max_ram`)")
        bound = memory_bound(later=None if "SimpleITK" in sys.modules else SIMPLEITK)
        if bound is not None and bound.bytes == 0:
            import SimpleITK  # noqa: F401 - fails with a reason, where OpenBLAS would end the process

            bound = memory_bound()
        return bound

    def choose(self, plan: CasePlan) -> tuple[Workspace, list[str]]:
        """Choose where a case is computed; returns the workspace, and notes for the user.

        Raises:
            InputError: the case needs more host memory than it may use.
        """
        notes: list[str] = []
        workspace: Workspace = self.host
        if self._device is not None:
            if self.fits(plan, self._device):
                workspace = self._device
            else:
                notes.append(
                    f"overlaps are summed in host memory: on the device this case would need about "
                    f"{plan.device_memory / MIB:,.0f} MiB besides the network, and "
                    f"{(self._device.room() or 0) / MIB:,.0f} MiB are available (`max_vram`)"
                )
        self.check(plan)
        return workspace, notes

    def check(self, plan: CasePlan) -> None:
        """Raise if a case needs more host memory than it may use.

        Raises:
            InputError: the case needs more.
        """
        if self.bound is not None:
            self.bound.check(
                self.host_memory(plan).peak,
                "besides the network",
                "choose a smaller `patch_size`, above all along Z, or a model with fewer labels",
            )

    def on_host(self) -> Workspaces:
        """Return the same without a device."""
        twin = copy.copy(self)
        twin._device = None
        return twin

    def host_memory(self, plan: CasePlan) -> Memory:
        """Host memory that a case needs, in the workspace that it would be computed in."""
        there = self._device is not None and self.fits(plan, self._device)
        return plan.memory_beside_device if there else plan.memory

    def fits(self, plan: CasePlan, workspace: Workspace) -> bool:
        """Whether a case fits in the memory of a workspace."""
        if workspace is self.host:
            return self.bound is None or plan.memory.peak <= self.bound.bytes
        room = self._device.room() if self._device is not None else 0
        return room is None or plan.device_memory <= room

    def free_device(self) -> None:
        """Return the device memory that torch caches, so that the network can be given it."""
        import torch

        torch.cuda.empty_cache()  # has no effect without CUDA

    def leave_device(self, error: Exception) -> bool:
        """Whether an error means that the device ran out of memory; only host memory is used after that."""
        if self._device is None:
            return False
        from itk_infer.engine.device.workspace import ran_out

        if not ran_out(error):
            return False
        self._device = None
        return True
