"""Probabilities of the labels of a picture, on its pixels: as NumPy arrays, TIFF pages, or one 16-bit PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itk_infer.files.commit import write_bytes
from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import OutputHeader
from itk_infer.volume.label_values import values_of
from itk_infer.volume.marks import own_keys
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.write_picture import write_png, write_tiff

WHITE = 65535


class Probabilities:
    """Collects the probability of every label of a picture; see `Sink`.

    If labels exclude each other, it is the softmax of all channels, background included; if they may
    overlap, the sigmoid of each. Logits have 16 bits: the error of a sigmoid is below 0.0003, that of a softmax of
    logits up to 16 is below 0.002.

    Args:
        path: File to write.
        header: Header of the case.
    """

    needs_logits = True

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self.path = path
        self.header = header
        self._planes = Planes(header)
        # (L, Z, Y, X) in the file's axes, and a view in those of the slabs.
        self.array = np.empty((len(header.labels), *header.grid.size), np.float32)
        self._in_slab_axes = header.reorientation.inverse.apply(self.array)

    def write(self, slab: DecidedSlab) -> None:
        """Take one slab, which must carry logits."""
        if slab.logits is None:
            raise RuntimeError("a slab came without logits")
        planes = self._planes.take(slab.z0, slab.logits.shape[1:])
        values = slab.logits.astype(np.float32)
        if self.header.values == "logits":
            values = _sigmoid(values) if self.header.overlaps else _softmax(values)
        self._in_slab_axes[:, planes] = values_of(values, self.header.labels)

    def commit(self) -> Path:
        """See `Sink.commit`."""
        self._planes.finish()
        self.save(own_keys(self.header.about))
        return self.path

    def save(self, keys: dict[str, str]) -> None:
        """Write the file, read it back, and move it to its final name.

        Args:
            keys: Entries about the model for the file's metadata.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Do nothing: before the commit there is no file, and a commit that fails leaves none."""


class ProbabilityArrays(Probabilities):
    """``.npz`` with ``probabilities``, float32 (L, Y, X) or (L, Z, Y, X), and ``labels``, their values (L,)."""

    def save(self, keys: dict[str, str]) -> None:
        """See `Probabilities.save`."""
        stream = io.BytesIO()
        array = self.array[:, 0] if self.array.shape[1] == 1 else self.array
        values = np.array([label.value for label in self.header.labels], np.uint16)
        np.savez_compressed(stream, probabilities=array, labels=values)
        write_bytes(stream.getvalue(), self.path, track=self.header.track)


class ProbabilityPages(Probabilities):
    """``.tif`` of float32: one page per label and page of the picture, label by label in the table's order."""

    def save(self, keys: dict[str, str]) -> None:
        """See `Probabilities.save`."""
        pages = self.array.reshape(-1, *self.array.shape[2:])
        write_tiff(pages, self.path, keys, track=self.header.track)


class ProbabilityPicture(Probabilities):
    """``.png`` of 16 bits, where 65,535 is 1: the probability that a pixel has any label."""

    def save(self, keys: dict[str, str]) -> None:
        """See `Probabilities.save`."""
        any_label = self.array.max(axis=0) if self.header.overlaps else np.minimum(self.array.sum(axis=0), 1)
        grey = np.rint(any_label[0] * WHITE).astype(np.uint16)
        write_png(grey, self.path, keys, track=self.header.track)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    small = np.exp(-np.abs(logits))  # no overflow
    result: NDArray[np.float32] = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
    return result


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shares = np.exp(logits - logits.max(axis=0))
    result: NDArray[np.float32] = shares / shares.sum(axis=0)
    return result
