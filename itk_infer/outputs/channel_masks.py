"""A 4D NIfTI file with one mask per label, as MONAI writes channels that overlap."""

from __future__ import annotations

from pathlib import Path

from itk_infer.outputs.kept_masks import KeptMasks
from itk_infer.volume.label_masks import stacked_image
from itk_infer.volume.write import write_image


class ChannelMasksSink(KeptMasks):
    """A ``.nii.gz`` file with a volume of 0 and 1 per label, in the order of the table."""

    def commit(self) -> Path | None:
        """Write, read back, and move to the final name."""
        self.finish()
        if self._path is None:
            return None
        write_image(stacked_image(self.masks, self.header.grid), self._path, track=self.header.track)
        return self._path
