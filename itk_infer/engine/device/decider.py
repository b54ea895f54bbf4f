"""The decision on a device: only labels, masks and half-precision logits are copied to the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from itk_infer.engine.confidence import Confidence
from itk_infer.engine.decision import Decision
from itk_infer.engine.device.confidence import DeviceConfidenceSum
from itk_infer.engine.device.to_host import DeviceSlab, to_host_slabs
from itk_infer.engine.native import in_plane, stacks, to_native
from itk_infer.engine.slabs import height_that_fits
from itk_infer.engine.uncertainty import UncertaintyMap
from itk_infer.engine.workspace import Slab
from itk_infer.volume.interpolation import ModelGrid, resample_axis
from itk_infer.volume.slab import DecidedSlab


class DeviceDecider:
    """See `Decider`.

    Args:
        decision: The decision rule.
        model: How the model's grid and the native one correspond.
        want_logits: Whether decided slabs carry logits.
        device: Device of the slabs.
        slab_bytes: Maximum bytes of a slab's float32 logits.
        want_uncertainty: Whether the uncertainty of each voxel is kept.
    """

    def __init__(
        self,
        decision: Decision,
        model: ModelGrid,
        want_logits: bool,
        device: torch.device,
        slab_bytes: int,
        want_uncertainty: bool = False,
    ) -> None:
        self._decision = decision
        self._model = model
        self._want_logits = want_logits
        self._slab_bytes = slab_bytes
        self._uncertainty = UncertaintyMap(model) if want_uncertainty else None
        self._sum = DeviceConfidenceSum(decision, device, self._uncertainty)
        self._clipped = torch.zeros((), dtype=torch.int64, device=device)
        self._voxels = torch.zeros(len(decision.table), dtype=torch.int64, device=device)
        self._label_values = torch.tensor([label.value for label in decision.table], device=device)
        # torch supports few operations on uint16, so int16 with the same bits is used.
        values = decision.value_of_channel
        values = values.view(np.int16) if values.dtype == np.uint16 else values
        channels = np.array([label.channel for label in decision.painting], np.int64)
        self._channels = torch.from_numpy(channels).to(device)
        self._bounds = torch.from_numpy(decision.bounds).to(device)
        self._values_as_stored: list[int] = values.tolist()
        self._value_of_channel = torch.from_numpy(values).to(device)

    @property
    def clipped(self) -> int:
        """See `Decider`."""
        return int(self._clipped)

    def voxels(self) -> NDArray[np.int64]:
        """See `Decider.voxels`; waits for the device."""
        counts: NDArray[np.int64] = self._voxels.cpu().numpy()
        return counts

    def confidence(self) -> Confidence:
        """See `Decider.confidence`."""
        return self._sum.result()

    def uncertainty(self) -> NDArray[np.uint8] | None:
        """See `Decider.uncertainty`; waits for the device."""
        return None if self._uncertainty is None else self._uncertainty.on_native_grid()

    def decide(self, slabs: Iterable[Slab]) -> Iterator[DecidedSlab]:
        """See `Decider.decide`."""
        if self._model.identity:
            decided = self._decide(slabs, measure=True)
        elif self._want_logits or self._decision.weighs:
            decided = self._decide(to_native(self._measured(slabs), self._model, self._slab_bytes), measure=False)
        else:
            decided = self._decide_on_native(self._measured(slabs))
        return to_host_slabs(self._counted(decided))

    def _counted(self, slabs: Iterable[DeviceSlab]) -> Iterator[DeviceSlab]:
        """Count voxels on the device; on the host, counting takes longer than a GPU takes for a whole case."""
        highest = max((label.value for label in self._decision.table), default=0)
        for slab in slabs:
            if slab.masks is not None:
                self._voxels += slab.masks.sum(dim=(1, 2, 3))
            else:
                values = slab.labels if slab.labels.dtype == torch.uint8 else slab.labels.int() & 0xFFFF
                # Unlike bincount, a histogram of known range does not synchronise; counts are exact in float64.
                bins = torch.histc(values.double(), bins=highest + 1, min=-0.5, max=highest + 0.5)
                self._voxels += bins[self._label_values].long()
            yield slab

    def _measured(self, slabs: Iterable[Slab]) -> Iterator[Slab]:
        for slab in slabs:
            self._measure(slab.logits, *self._labels(slab.logits))
            yield slab

    def _measure(self, logits: torch.Tensor, winners: torch.Tensor, masks: torch.Tensor | None) -> None:
        self._sum.add(logits, winners, None if masks is None else self._decision.of_labels(masks))

    def _decide(self, slabs: Iterable[Slab], *, measure: bool) -> Iterator[DeviceSlab]:
        for slab in slabs:
            winners, masks = self._labels(slab.logits)
            if measure:
                self._measure(slab.logits, winners, masks)
            yield self._slab(slab.z0, winners, masks, self._half(slab.logits))

    def _labels(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """For argmax, the index of the largest channel (dz, Y, X), the first in case of ties, and None.

        For threshold, whether any mask is set (dz, Y, X), and the masks (P, dz, Y, X) in the order of painting.
        """
        if self._decision.output.decision == "argmax":
            return self._decision.scores(logits).argmax(dim=0), None
        masks = logits.index_select(0, self._channels) > self._bounds[:, None, None, None]
        return masks.any(dim=0), masks

    def _slab(
        self,
        z0: int,
        winners: torch.Tensor | None,
        masks: torch.Tensor | None,
        logits: torch.Tensor | None = None,
    ) -> DeviceSlab:
        """A decided slab from the two results of `_labels`; only one of them is needed."""
        if masks is None:
            return DeviceSlab(z0, self._value_of_channel[winners], None, logits)
        labels = self._value_of_channel.new_zeros(masks.shape[1:])
        for label, mask in zip(self._decision.painting, masks, strict=True):
            labels.masked_fill_(mask, self._values_as_stored[label.channel])
        return DeviceSlab(z0, labels, self._decision.of_labels(masks), logits)

    def _half(self, logits: torch.Tensor) -> torch.Tensor | None:
        if not self._want_logits:
            return None
        largest = torch.finfo(torch.float16).max
        self._clipped += (logits.abs() > largest).sum()
        return logits.clamp(-largest, largest).half()

    def _decide_on_native(self, slabs: Iterable[Slab]) -> Iterator[DeviceSlab]:
        """Equals "interpolate all logits, then decide"; holds one interpolated channel at a time."""
        _, along_y, along_x = self._model.axes
        channels = [label.channel for label in self._decision.painting]
        argmax = self._decision.output.decision == "argmax"
        for stack in stacks(slabs, self._model.axes[0]):
            height = height_that_fits(1, (along_y.native, along_x.native), self._slab_bytes)
            for start in range(0, len(stack.positions), height):
                positions = stack.positions[start : start + height]
                z0 = stack.native + start
                if argmax:
                    yield self._slab(z0, self._running(stack.planes, positions), None)
                else:
                    each = (self._native(stack.planes[c : c + 1], positions)[0] for c in channels)
                    masks = torch.stack([native > bound for native, bound in zip(each, self._bounds, strict=True)])
                    yield self._slab(z0, None, masks)

    def _running(self, planes: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
        """Index of the largest channel in the native planes at `positions` among `planes`."""
        best = self._native(planes[:1], positions)[0]
        winners = torch.zeros(best.shape, dtype=torch.int32, device=best.device)
        for channel in range(1, len(planes)):
            values = self._native(planes[channel : channel + 1], positions)[0]
            winners.masked_fill_(values > best, channel)
            torch.maximum(best, values, out=best)
        return winners

    def _native(self, planes: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
        """Planes (K, dz, Y, X) of the model's grid interpolated to the native grid, at `positions` along Z."""
        first, last = int(positions[0]), min(int(positions[-1]) + 2, planes.shape[1])
        near = resample_axis(planes[:, first:last], positions - first, 1, "linear")
        native: torch.Tensor = in_plane(near, self._model)
        return native
