"""What itk_infer makes of a plan: the network's input, windows, and label maps from logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from made_up_plans import NAME, Made
from numpy.typing import NDArray

from itk_infer.case.outputs import CaseSinks
from itk_infer.case.plan import CasePlan, plan_case
from itk_infer.case.prepare import Prepared, prepare
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.segment import decide
from itk_infer.engine.windows import AxisWindows
from itk_infer.engine.workspace import Slab
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds.nnunet.labels import read_labels
from itk_infer.model.kinds.nnunet.plans import read_configuration
from itk_infer.model.kinds.nnunet.spec_document import spec_document
from itk_infer.model.window import fit_window
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import ModelSpec
from itk_infer.spec.parse import parse_spec
from itk_infer.volume.grid import Grid


class Ours:
    """One case, prepared.

    Attributes:
        padded: What windows are cut from, (C, Z, Y, X).
        windows: Along Z, Y and X.
        channels: Output channels of the network.
        size: Of the network's grid without padding.
        nearest_back: The axis along which logits return by the nearest plane, if there is one.
    """

    def __init__(self, made: Made) -> None:
        configuration = read_configuration(made.plans, NAME, "plans")
        labels = read_labels(made.dataset, "dataset")
        document, _ = spec_document(configuration, made.dataset, labels, ())
        if configuration.previous_stage is not None:
            document["input"]["previous_labels"] = list(labels.foreground)
        document["window"]["step"] = made.step
        self._spec: ModelSpec = parse_spec(document, "made up")
        self.channels = labels.channels
        inputs = len(self._spec.input.channels) + len(self._spec.input.previous_labels)
        flat = 1 if made.flat else None
        shape = NetworkShape(channels_in=inputs, channels_out=labels.channels, size=(flat, None, None))
        window = fit_window(self._spec, shape)
        z, y, x = made.image.shape[1:]
        self._grid = Grid((z, y, x), made.spacing)
        self._whole: CasePlan = plan_case(
            self._grid,
            made.image.itemsize,
            self._spec,
            window,
            channels_out=labels.channels,
            batch=1,
            want_logits=False,
        )
        previous = None if made.previous is None else self._whole.reorientation.apply(made.previous)
        self._prepared: Prepared = prepare(made.image, self._whole, self._spec, window, None, previous)
        self.padded: NDArray[np.float32] = self._prepared.volume[:]
        self.windows: tuple[AxisWindows, ...] = self._prepared.plan.windows.axes
        model = self._prepared.plan.model
        self.size = model.size
        self.nearest_back = next((n for n, axis in enumerate(model.axes) if axis.back == "nearest"), None)

    def label_map(self, logits: NDArray[np.float32], depth: int) -> NDArray[np.integer]:
        """The label map in the stored image's axes, of logits (C, Z, Y, X) that come `depth` planes at a time."""
        plan = self._whole
        labels: list[LabelMapSink] = []

        def make(header: OutputHeader) -> list[LabelMapSink]:
            labels.append(LabelMapSink(None, header))
            return labels

        def slabs() -> Iterator[Slab]:
            for z0 in range(0, logits.shape[1], depth):
                yield Slab(z0, logits[:, z0 : z0 + depth])

        header = OutputHeader(
            self._grid, plan.reorientation.inverse, plan.native.size, (), self.channels, overlaps=False
        )
        sinks = CaseSinks(
            make, lambda decision: replace(header, labels=decision.table), self._prepared.part, plan.native.size
        )
        decide(slabs(), self._prepared.plan.model, self._spec.output, sinks.open, HostWorkspace())
        return labels[0].finished.labels
