"""The surface of one label as points with areas, and the distances between two surfaces.

Definition, used for all reported distances: each 2 x 2 x 2 neighbourhood of voxels that is neither empty nor full
has one surface element, at the corner that its voxels share, with an area (`surface_elements`). The image is
surrounded by background: an organ that its border cuts has a surface there, unless ``open_border`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.evaluate.surface_elements import FULL, area_table

Box = tuple[slice, slice, slice]
Labels = NDArray[np.unsignedinteger[Any]]
CHUNK_VOXELS = 2**22  # neighbourhoods that are evaluated at a time
PERCENTILE = 0.95


@dataclass(frozen=True, slots=True)
class Surface:
    """The surface of one label.

    Attributes:
        points: Positions in mm along Z, Y, X, (N, 3); the origin is the corner of the image.
        areas: Areas in mm², (N,).
    """

    points: NDArray[np.float64]
    areas: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SurfaceDistances:
    """Distances between two surfaces, in mm.

    Attributes:
        hd: Hausdorff distance: the largest distance of an element of either surface from the other surface.
        hd95: 95 % Hausdorff distance: the larger of the two directed 95 % quantiles, weighted by area.
        nsd: Normalised surface dice: share of the area of both surfaces within the tolerance of the other.
        assd: Average symmetric surface distance: mean over the elements of both surfaces, weighted by area.
    """

    hd: float
    hd95: float
    nsd: float
    assd: float


def surface_of(
    labels: Labels, value: int, box: Box, spacing: tuple[float, float, float], *, open_border: bool = False
) -> Surface:
    """Compute the surface of the voxels of one value.

    Args:
        labels: Label map, (Z, Y, X).
        value: The label.
        box: A box that holds all voxels of the label.
        spacing: Millimetres along Z, Y, X.
        open_border: Leave out the elements at the border of the image.
    """
    areas = area_table(spacing)
    corners, codes = [], []
    for first, code in _neighbourhoods(labels, value, box):
        where = np.nonzero((code != 0) & (code != FULL))
        codes.append(code[where])
        corners.append(np.stack(where, axis=1) + np.array((first, box[1].start, box[2].start)))
    index = np.concatenate(corners)  # corner i lies between voxels i - 1 and i
    area = areas[np.concatenate(codes)]
    if open_border:
        keep = ((index > 0) & (index < np.array(labels.shape))).all(axis=1)
        index, area = index[keep], area[keep]
    return Surface(index * np.array(spacing), area)


def _neighbourhoods(labels: Labels, value: int, box: Box) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield first plane and codes of the neighbourhoods around all corners of a box, in chunks of planes."""
    z, y, x = box
    height, width = y.stop - y.start, x.stop - x.start
    deep = max(1, CHUNK_VOXELS // ((height + 2) * (width + 2)))
    for first in range(z.start, z.stop + 1, deep):
        last = min(first + deep, z.stop + 1)  # corners first to last, between voxels first - 1 to last
        padded = np.zeros((last - first + 1, height + 2, width + 2), np.uint8)
        begin, end = max(first - 1, z.start), min(last, z.stop)
        np.equal(
            labels[begin:end, y, x],
            value,
            out=padded[begin - first + 1 : end - first + 1, 1:-1, 1:-1].view(np.bool_),
        )
        line = padded[:, :, :-1] | padded[:, :, 1:] << 1
        square = line[:, :-1] | line[:, 1:] << 2
        yield first, square[:-1] | square[1:] << 4


def distances(one: Surface, other: Surface, tolerance: float) -> SurfaceDistances:
    """Distances between two surfaces, both of which must have elements.

    Args:
        one: A surface.
        other: The other one.
        tolerance: Tolerance of the NSD in mm; a distance equal to it is within.
    """
    directed = [(_nearest(a, b), a.areas) for a, b in ((one, other), (other, one))]
    total = sum(float(areas.sum()) for _, areas in directed)
    within = sum(float(areas[lengths <= tolerance].sum()) for lengths, areas in directed)
    return SurfaceDistances(
        hd=max(float(lengths.max()) for lengths, _ in directed),
        hd95=max(_quantile(lengths, areas) for lengths, areas in directed),
        nsd=within / total,
        assd=sum(float(lengths @ areas) for lengths, areas in directed) / total,
    )


def _nearest(origin: Surface, target: Surface) -> NDArray[np.float64]:
    """Distance of every element of `origin` from the nearest one of `target`, in mm."""
    from scipy.spatial import cKDTree

    tree = cKDTree(target.points, leafsize=16, balanced_tree=False, compact_nodes=False)
    lengths: NDArray[np.float64] = tree.query(origin.points)[0]
    return lengths


def _quantile(lengths: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
    """The smallest distance within which `PERCENTILE` of the area lies."""
    order = np.argsort(lengths)
    share = np.cumsum(areas[order]) / areas.sum()
    place = min(int(np.searchsorted(share, PERCENTILE)), len(order) - 1)
    return float(lengths[order[place]])
