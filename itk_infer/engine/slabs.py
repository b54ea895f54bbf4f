"""From windows to finished slabs: planes that no later window overlaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from itk_infer.arrays import Array, namespace
from itk_infer.engine.windows import WindowGrid
from itk_infer.engine.workspace import Accumulator, Slab, Workspace
from itk_infer.errors import InferenceError

Origin = tuple[int, int, int]
Forward = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class _Call:
    """One queued call of the network: its windows, their logits, and whether each is finite."""

    indices: list[tuple[int, int, int]]
    origins: list[Origin]
    logits: Array
    finite: Callable[[], list[bool]]


def height_that_fits(channels: int, plane: tuple[int, int], slab_bytes: int) -> int:
    """Number of planes whose float32 logits take at most `slab_bytes`; at least 1."""
    return max(1, slab_bytes // (4 * channels * plane[0] * plane[1]))


def finished_slabs(
    array: Array,
    grid: WindowGrid,
    forward: Forward,
    workspace: Workspace,
    *,
    repair: Forward | None = None,
    batch: int = 1,
    on_windows: Callable[[int], None] = lambda done: None,
) -> Iterator[Slab]:
    """Run the network on all windows and yield slabs of blended logits in ascending Z, without gaps.

    For a grid with some of the windows (`WindowGrid.between`), slabs range from the first to the last of these;
    planes that also depend on omitted windows are wrong.

    Args:
        array: The padded volume, (C_in, Z, Y, X), in the memory of `workspace`, or an object that gives
            parts of it by the same indexing.
        grid: Its windows.
        forward: (N, C_in, *patch) to (N, C_out, *patch); its result must stay valid during
            `workspace.prefetch_calls` further calls.
        workspace: Memory in which windows are summed.
        repair: As `forward`, for single windows whose logits have NaN or infinity; None: such a window is
            an error.
        batch: Windows per call.
        on_windows: Called with the number of windows done so far.

    Raises:
        InferenceError: the network's output has a wrong shape or is not finite.
    """
    ring: Accumulator | None = None
    z_axis = grid.axes[0]
    # When the windows at the k-th Z origin are done, the planes up to the next origin are finished.
    finished = [*pairwise(z_axis.origins), (z_axis.origins[-1], z_axis.origins[-1] + z_axis.patch)]
    left = [len(grid.axes[1].origins) * len(grid.axes[2].origins)] * len(finished)
    done = 0
    for call in _calls(array, grid, forward, workspace, batch):
        outputs = _finite_logits(call, array, grid.patch, repair)
        done += len(call.indices)
        on_windows(done)
        height = height_that_fits(outputs.shape[1], grid.padded_size[1:], workspace.slab_bytes)
        if len(grid) == 1:
            yield from _cropped(z_axis.origins[0], outputs[0], grid, height)
            return
        windows = list(zip(call.indices, call.origins, strict=True))
        waiting = [outputs[number] for number in reversed(range(len(windows)))]
        del call, outputs  # so that a window's logits are freed before slabs are yielded, and before the next call
        for index, origin in windows:
            logits = waiting.pop()
            if ring is None:
                ring = workspace.accumulator(len(logits), z_axis.patch, grid.padded_size[1:], grid.floor)
            z, y, x = (axis.weights[i] for axis, i in zip(grid.axes, index, strict=True))
            ring.add(logits, (z, y, x), origin)
            del logits
            left[index[0]] -= 1
            if left[index[0]] == 0:
                z0, z1 = finished[index[0]]
                for start in range(z0, z1, height):
                    yield from _cropped(start, ring.take(start, min(z1, start + height)), grid, height)


def gather(array: Array, origins: list[Origin], patch: tuple[int, int, int]) -> Array:
    """Windows at `origins` of a volume (C, Z, Y, X), as one batch (N, C, *patch)."""
    dz, dy, dx = patch
    windows = [array[:, z : z + dz, y : y + dy, x : x + dx] for z, y, x in origins]
    return namespace(windows[0]).stack(windows)


def _calls(array: Array, grid: WindowGrid, forward: Forward, workspace: Workspace, batch: int) -> Iterator[_Call]:
    """All calls of the network in the order of the windows, with `workspace.prefetch_calls` queued in advance."""
    begun: deque[_Call] = deque()
    windows = iter(grid)
    while indices := list(islice(windows, batch)):
        origins = [grid.origin(index) for index in indices]
        logits = forward(gather(array, origins, grid.patch))
        if logits.ndim != 5 or logits.shape[0] != len(origins) or tuple(logits.shape[2:]) != grid.patch:
            raise InferenceError(
                f"the network's output has shape {tuple(logits.shape)} for {len(origins)} windows of "
                f"{grid.patch}; it must be (N, channels, Z, Y, X) of the same size: "
                "check the patch size and the model"
            )
        begun.append(_Call(indices, origins, logits, workspace.finite(logits)))
        del logits
        if len(begun) > workspace.prefetch_calls:
            yield begun.popleft()
    yield from begun


def _finite_logits(call: _Call, array: Array, patch: tuple[int, int, int], repair: Forward | None) -> Array:
    """The logits of a call; windows with NaN or infinity are run again with `repair`."""
    broken = [index for index, fine in enumerate(call.finite()) if not fine]
    if not broken:
        return call.logits
    xp = namespace(call.logits)
    logits = xp.astype(call.logits, xp.float32, copy=True)
    for index in broken:
        if repair is not None:
            logits[index] = repair(gather(array, [call.origins[index]], patch))[0]
        if not xp.all(xp.isfinite(logits[index])):
            raise InferenceError(
                f"the network's output has NaN or infinity in the window at {call.origins[index]} (Z Y X); "
                "the input may be far from what it was trained on, or half precision overflowed"
            )
    return logits


def _cropped(z0: int, logits: Array, grid: WindowGrid, height: int) -> Iterator[Slab]:
    """Planes of the padded volume from `z0` on without their padding, in slabs of at most `height` planes."""
    xp, (z, y, x) = namespace(logits), grid.axes
    first = max(z0, z.pad_before)
    last = min(z0 + logits.shape[1], z.pad_before + z.size)
    rows = slice(y.pad_before, y.pad_before + y.size)
    columns = slice(x.pad_before, x.pad_before + x.size)
    inside = logits[:, first - z0 : max(first, last) - z0, rows, columns]
    pieces = in_pieces(Slab(first - z.pad_before, inside), height)

    def as_floats(piece: Slab) -> Slab:
        return Slab(piece.z0, xp.astype(piece.logits, xp.float32, copy=False))

    return map(as_floats, pieces)


def in_pieces(slab: Slab, height: int) -> Iterator[Slab]:
    """Cut a slab to slabs of at most `height` planes. Its memory is not kept beyond that of the last one."""
    planes = slab.logits
    starts = range(0, planes.shape[1], height)
    pieces = deque(Slab(slab.z0 + start, planes[:, start : start + height]) for start in starts)
    return _emptied(pieces)


def _emptied(pieces: deque[Slab]) -> Iterator[Slab]:
    while pieces:
        yield pieces.popleft()
