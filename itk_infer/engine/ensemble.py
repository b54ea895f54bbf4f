"""The mean of several models' probabilities or logits on a case's native grid, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace
from itk_infer.engine.activation import activated
from itk_infer.engine.workspace import Slab
from itk_infer.spec import OutputSpec
from itk_infer.volume.box import Box


def probabilities(slabs: Iterable[Slab], output: OutputSpec) -> Iterator[Slab]:
    """Convert slabs of logits to probabilities: softmax over the channels, or a sigmoid per channel."""
    for slab in slabs:
        z0, values = slab.z0, slab.logits
        del slab  # its logits are not kept until the next one is asked for: in an ensemble, every member would
        if output.values != "probabilities":
            values = activated(values, output)
        yield Slab(z0, values)


def around(
    slabs: Iterable[Slab], part: Box | None, size: tuple[int, int, int], outside: NDArray[np.float32]
) -> Iterator[Slab]:
    """Extend slabs of a part of a case to slabs of the whole case.

    Args:
        slabs: Slabs of the part.
        part: Box of the part in the whole, Z Y X; None: the part is the whole.
        size: Size of the whole, Z Y X.
        outside: The value of each channel outside the part, (C,).
    """
    if part is None:
        yield from slabs
        return
    deep, rows, columns = part
    done, height = 0, 1

    def empty(planes: int, like: Array) -> Array:
        xp = namespace(like)
        where = {} if xp is np else {"device": like.device}
        whole = xp.empty((len(outside), planes, *size[1:]), dtype=xp.float32, **where)
        for channel, value in zip(whole, outside, strict=True):
            channel[...] = float(value)
        return whole

    last: Array | None = None
    for slab in slabs:
        last, height = slab.logits[:, :1], slab.logits.shape[1]
        while done < deep.start:
            planes = min(height, deep.start - done)
            yield Slab(done, empty(planes, last))
            done += planes
        whole = empty(height, last)
        whole[:, :, rows, columns] = slab.logits
        yield Slab(done, whole)
        done += height
    while last is not None and done < size[0]:
        planes = min(height, size[0] - done)
        yield Slab(done, empty(planes, last))
        done += planes


def reordered(slabs: Iterable[Slab], order: Sequence[int] | None) -> Iterator[Slab]:
    """Reorder the channels of slabs; None: no change."""
    for slab in slabs:
        z0, values = slab.z0, slab.logits
        del slab
        yield Slab(z0, values if order is None else values[list(order)])


Watch = Callable[[Sequence[Array], Array], None]


def mean_of(
    streams: Sequence[Iterator[Slab]], weights: Sequence[float] | None = None, watch: Watch | None = None
) -> Iterator[Slab]:
    """Average streams of slabs on one grid, which may be cut at different planes.

    Args:
        streams: Slabs in ascending order without gaps, with the same number of planes in total.
        weights: One per stream, with a sum of 1; None: equal weights.
        watch: Called with the planes of all streams, and their mean.
    """
    shares = weights or [1 / len(streams)] * len(streams)
    waiting: list[Array | None] = [None] * len(streams)
    done = 0
    while True:
        for number, stream in enumerate(streams):
            if waiting[number] is None:
                slab = next(stream, None)
                if slab is None:
                    return
                waiting[number] = slab.logits
        ready = [planes for planes in waiting if planes is not None]
        height = min(planes.shape[1] for planes in ready)
        xp = namespace(ready[0])
        total = xp.astype(ready[0][:, :height], xp.float32, copy=True)
        total *= shares[0]
        for planes, share in zip(ready[1:], shares[1:], strict=True):
            total += share * planes[:, :height]
        if watch is not None:
            watch([planes[:, :height] for planes in ready], total)
        yield Slab(done, total)
        done += height
        waiting = [None if planes.shape[1] == height else planes[:, height:] for planes in ready]
