"""A data set of images and label maps in two folders, for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset

from itk_infer.errors import InputError


@DATASETS.register_module()
class VolumeFolder(Dataset[dict[str, Any]]):
    """One item per case: the whole volume, oriented, z-scored, and padded with zeros to a common size.

    Applies the ``input`` block of the demo model's spec for training: orientation, ``zscore`` over all voxels,
    and padding by half of the missing voxels, rounded down before the volume and up after it.

    Args:
        images: Folder of ``.nii.gz`` images.
        labels: Folder of label maps of the same names.
        size: Z, Y, X of every item; each volume must fit.
        orientation: As ``input.orientation`` of the spec.
    """

    def __init__(
        self,
        images: str | Path,
        labels: str | Path,
        size: Sequence[int],
        orientation: str = "RAS",
    ) -> None:
        self.cases = sorted(Path(images).glob("*.nii.gz"))
        self.labels = Path(labels)
        self.size = tuple(size)
        self.orientation = orientation
        if not self.cases:
            raise InputError(f"{images}: holds no .nii.gz image to train on")

    def __len__(self) -> int:
        """Number of cases in the folder."""
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``inputs`` (1, Z, Y, X) float32 and ``data_samples`` with ``labels`` (Z, Y, X) int64."""
        path = self.cases[index]
        image = self._read(path).astype(np.float32)
        labels = self._read(self.labels / path.name).astype(np.int64)
        # A constant image gives zeros, as in the spec.
        image = (image - image.mean()) / (image.std() or 1.0)
        return {"inputs": self._padded(image, path)[None], "data_samples": {"labels": self._padded(labels, path)}}

    def _read(self, path: Path) -> Any:
        import SimpleITK as sitk

        return sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(path), self.orientation))

    def _padded(self, array: Any, path: Path) -> Tensor:
        rest = [want - have for want, have in zip(self.size, array.shape, strict=True)]
        if min(rest) < 0:
            raise InputError(f"{path}: has {array.shape} voxels (Z, Y, X), more than the {self.size} of an item")
        return torch.from_numpy(np.pad(array, [(n // 2, n - n // 2) for n in rest]))
