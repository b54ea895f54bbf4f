"""A 3D Slicer segmentation whose labels may overlap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import OutputHeader
from itk_infer.outputs.slicer_keys import segment_keys
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import image_of
from itk_infer.volume.write import write_image

if TYPE_CHECKING:
    import SimpleITK as sitk


class LayeredSegmentationSink:
    """Holds one bit per voxel and label; labels without common voxels are written into the same layer.

    Args:
        path: File to write, ``.seg.nrrd``.
        header: Header of the case.
    """

    needs_logits = False

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._header = header
        self._planes = Planes(header)
        z, y, x = header.slab_size
        labels = len(header.labels)
        self._bits = np.zeros((labels, z, y, -(-x // 8)), np.uint8)
        self._meet = np.zeros((labels, labels), bool)

    def write(self, slab: DecidedSlab) -> None:
        """Take one slab, which must carry masks."""
        if slab.masks is None or len(slab.masks) != len(self._bits):
            raise RuntimeError(f"a slab came without the masks of the {len(self._bits)} labels of the table")
        planes = self._planes.take(slab.z0, slab.masks.shape[1:])
        self._bits[:, planes] = np.packbits(slab.masks, axis=-1)
        for plane in slab.masks.swapaxes(0, 1):
            shared = plane[:, np.count_nonzero(plane, axis=0) > 1].astype(np.float32)
            self._meet |= shared @ shared.T > 0

    def commit(self) -> Path:
        """Write, read back, and move to the final name."""
        self._planes.finish()
        layers = _layers(self._meet)
        image = self._image(layers)
        for key, value in segment_keys(self._header, layers).items():
            image.SetMetaData(key, value)
        write_image(image, self._path, track=self._header.track)
        return self._path

    def abort(self) -> None:
        """Do nothing: before the commit there is no file, and a commit that fails leaves none."""

    def _image(self, layers: list[int]) -> sitk.Image:
        """One component per layer; a single layer is a plain label map."""
        import SimpleITK as sitk

        grid, labels = self._header.grid, self._header.labels
        dtype = np.min_scalar_type(max(label.value for label in labels))
        images = []
        for layer in range(max(layers) + 1):
            array = np.zeros(grid.size, dtype)
            in_slab_axes = self._header.reorientation.inverse.apply(array)
            for label, bits, own in zip(labels, self._bits, layers, strict=True):
                if own == layer:
                    mask = np.unpackbits(bits, axis=-1, count=self._header.slab_size[2]).view(bool)
                    in_slab_axes[mask] = label.value
            images.append(image_of(array, grid))
        return sitk.Compose(images) if len(images) > 1 else images[0]


def _layers(meet: NDArray[np.bool_]) -> list[int]:
    """Assign each label to the first layer whose labels have no common voxel with it.

    Args:
        meet: Whether two labels have a common voxel, (L, L), symmetric.
    """
    layers: list[int] = []
    for label in range(len(meet)):
        taken = {layer for other, layer in enumerate(layers) if meet[label, other]}
        layers.append(next(layer for layer in range(label + 1) if layer not in taken))
    return layers
