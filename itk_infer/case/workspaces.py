"""Where a case is computed: on the backend's device if it fits there, else in host memory."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING

from itk_infer.case.plan import CasePlan
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.memory import Memory
from itk_infer.engine.workspace import Workspace
from itk_infer.machine import MIB, MemoryBound, memory_bound

if TYPE_CHECKING:
    from itk_infer.engine.device.workspace import DeviceWorkspace


class Workspaces:
    """The workspaces that are available, and their memory bounds.

    Args:
        tensor_device: Device whose tensors the backend takes; None: there is host memory only.
        threads: Of the host's work.
        max_ram: Bytes of host memory that a case may need besides the network; None: what the machine, its
            container and ``ulimit`` leave now.
        max_vram: Bytes of the device that may be used; None: what is free.

    Attributes:
        host: Host memory.
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
        """What a case may need of host memory, once the libraries are loaded; None where nothing is known."""
        if self._max_ram:
            return MemoryBound(self._max_ram, "it may have (`max_ram`)")
        import SimpleITK  # noqa: F401

        return memory_bound()

    def choose(self, plan: CasePlan) -> tuple[Workspace, list[str]]:
        """Where a case is computed, and notes about it.

        Raises:
            InputError: it fits nowhere.
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
                    f"{(self._device.room() or 0) / MIB:,.0f} MiB are to be had (`max_vram`)"
                )
        self.check(plan)
        return workspace, notes

    def check(self, plan: CasePlan) -> None:
        """Refuse a case that needs more host memory than it may have.

        Raises:
            InputError: it does.
        """
        if self.bound is not None:
            self.bound.check(
                self.host_memory(plan).peak,
                "besides the network",
                "choose a smaller `patch_size`, above all along Z, or a model with fewer labels",
            )

    def on_host(self) -> Workspaces:
        """The same without a device."""
        twin = copy.copy(self)
        twin._device = None
        return twin

    def host_memory(self, plan: CasePlan) -> Memory:
        """What a case needs of host memory, wherever it is computed."""
        there = self._device is not None and self.fits(plan, self._device)
        return plan.memory_beside_device if there else plan.memory

    def fits(self, plan: CasePlan, workspace: Workspace) -> bool:
        """Whether a case fits where it is."""
        if workspace is self.host:
            return self.bound is None or plan.memory.peak <= self.bound.bytes
        room = self._device.room() if self._device is not None else 0
        return room is None or plan.device_memory <= room

    def free_device(self) -> None:
        """Give back what torch keeps of the device for later: others need it now."""
        import torch

        torch.cuda.empty_cache()  # does nothing without CUDA

    def leave_device(self, error: Exception) -> bool:
        """Whether an error means that the device ran out of memory; only host memory is used after that."""
        if self._device is None:
            return False
        from itk_infer.engine.device.workspace import ran_out

        if not ran_out(error):
            return False
        self._device = None
        return True
