"""Compute a range of native planes of a case from the windows that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from itk_infer.engine.native import model_planes
from itk_infer.engine.windows import WindowGrid
from itk_infer.engine.workspace import Slab
from itk_infer.volume.interpolation import ModelGrid


def slabs_of_range(
    run: Callable[[WindowGrid], Iterable[Slab]], windows: WindowGrid, model: ModelGrid, native: range
) -> Iterator[Slab]:
    """Yield slabs of the model's planes from which a range of native planes is interpolated.

    Args:
        run: Runs the windows that it is given, and yields their slabs, see `finished_slabs`.
        windows: All windows of the case.
        model: How the model's grid and the native grid correspond.
        native: The native planes, ascending.
    """
    wanted = model_planes(model.axes[0], native)
    before = windows.axes[0].pad_before
    for slab in run(windows.between(wanted.start + before, wanted.stop + before)):
        first, stop = max(slab.z0, wanted.start), min(slab.z0 + slab.logits.shape[1], wanted.stop)
        if first < stop:
            yield Slab(first, slab.logits[:, first - slab.z0 : stop - slab.z0])
