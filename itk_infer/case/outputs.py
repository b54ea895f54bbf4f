"""The sinks of one case, opened when the number of output channels is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from itk_infer.case.prepare import Prepared
from itk_infer.engine.decision import Decision
from itk_infer.engine.segment import TakeSlab
from itk_infer.errors import ConfigError
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.spec import Label
from itk_infer.volume.crop import Uncrop
from itk_infer.volume.slab import DecidedSlab


class CaseSinks:
    """What takes the decided slabs of a case.

    Args:
        make: Makes the sinks.
        frame: What they know of the case, from what was decided about its channels.
        prepared: The case.

    Attributes:
        open_outputs: The sinks, once there are any.
        labels: The label table, likewise.
    """

    def __init__(
        self,
        make: Callable[[OutputHeader], Sequence[Sink]],
        frame: Callable[[Decision], OutputHeader],
        prepared: Prepared,
    ) -> None:
        self.open_outputs: list[Sink] = []
        self.labels: tuple[Label, ...] = ()
        self._make = make
        self._frame = frame
        self._prepared = prepared

    def open(self, decision: Decision) -> tuple[TakeSlab, bool]:
        """Open them; returns what takes slabs, and whether these shall carry logits.

        Raises:
            ConfigError: logits were asked for that a cropped case does not have.
        """
        self.labels = decision.table
        self.open_outputs.extend(self._make(self._frame(decision)))
        want_logits = any(sink.needs_logits for sink in self.open_outputs)
        if self._prepared.crop is None:
            return self._take, want_logits
        if want_logits:
            raise ConfigError("`crop_foreground` leaves no logits outside the crop; leave `save_logits` out")
        return Uncrop(self._take, self._prepared.crop, self._prepared.plan.native.size), False

    def abort(self) -> None:
        """Leave nothing behind."""
        for sink in self.open_outputs:
            sink.abort()

    def _take(self, slab: DecidedSlab) -> None:
        for sink in self.open_outputs:
            sink.write(slab)
