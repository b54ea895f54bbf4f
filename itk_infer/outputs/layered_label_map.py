"""A 3D Slicer segmentation whose labels may overlap."""

from __future__ import annotations

from pathlib import Path

from itk_infer.outputs.kept_masks import KeptMasks
from itk_infer.outputs.slicer_keys import segment_keys
from itk_infer.volume.label_masks import layered_image
from itk_infer.volume.write import write_image


class LayeredSegmentationSink(KeptMasks):
    """A ``.seg.nrrd`` file, in which labels that share no voxel share a layer."""

    def commit(self) -> Path | None:
        """Write, read back, and move to the final name."""
        self.finish()
        if self._path is None:
            return None
        layers = self.masks.layers()
        values = [label.value for label in self.header.labels]
        image = layered_image(self.masks, values, layers, self.header.grid)
        for key, value in segment_keys(self.header, layers).items():
            image.SetMetaData(key, value)
        write_image(image, self._path, track=self.header.track)
        return self._path
