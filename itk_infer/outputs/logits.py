"""Logits on disk: a zarr array on the grid of the label map, written while the network runs."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import OutputError
from itk_infer.files.commit import commit_folder, partial_path, remove, writing
from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.grid import Grid
from itk_infer.volume.slab import DecidedSlab

FORMAT_VERSION = 1
CHUNK_CHANNELS = 8
CHUNK_SIDE = 64


class LogitsSink:
    """A zarr (format 3) array (C, Z, Y, X) of float16.

    The slabs' Z may be any axis of the file, in either direction; a row of chunks perpendicular to that axis is
    collected, written and read back before the next one. The whole array is never in memory.

    Args:
        path: Folder to write, ``.zarr``.
        header: Header of the case.
    """

    needs_logits = True

    def __init__(self, path: Path, header: OutputHeader) -> None:
        zarr = import_zarr()
        from zarr.codecs import BloscCodec

        self._track = header.track
        self._path = path
        self._partial = partial_path(path)
        self._turn = header.reorientation
        self._planes = Planes(header)
        self._axis = header.reorientation.axes.index(0)
        self._depth, *plane = header.slab_size
        self._row = np.empty((header.channels, min(CHUNK_SIDE, self._depth), *plane), np.float16)
        self._attributes = _attributes(header)
        try:
            with writing(path):
                self._array = zarr.create_array(
                    self._partial,
                    shape=(header.channels, *header.grid.size),
                    chunks=(
                        min(CHUNK_CHANNELS, header.channels),
                        *(min(CHUNK_SIDE, side) for side in header.grid.size),
                    ),
                    dtype="float16",
                    compressors=BloscCodec(cname="lz4"),
                    dimension_names=("c", "z", "y", "x"),
                    attributes=self._attributes,
                    # Every chunk is a file, so that a lost one is not read as zeros.
                    config={"write_empty_chunks": True},
                )
        except BaseException:
            self.abort()
            raise

    def write(self, slab: DecidedSlab) -> None:
        """Take one slab, which must carry logits.

        Raises:
            OutputError: a row of chunks cannot be written, or does not read back as written.
        """
        if slab.logits is None or len(slab.logits) != len(self._row):
            raise RuntimeError(f"a slab came without the {len(self._row)} channels of logits that were announced")
        planes = self._planes.take(slab.z0, slab.logits.shape[1:])
        z = planes.start
        while z < planes.stop:
            first, last = self._row_of(z)
            stop = min(planes.stop, last)
            self._row[:, z - first : stop - first] = slab.logits[:, z - planes.start : stop - planes.start]
            if stop == last:
                self._write_row(first, last)
            z = stop
        if planes.stop == self._depth:  # frees memory, as the commit may come later
            self._row = self._row[:, :0].copy()

    def commit(self) -> Path:
        """Read the header back, and move the folder to the final name."""
        zarr = import_zarr()
        self._planes.finish()
        with _reading_back(self._path):
            read = zarr.open_array(self._partial, mode="r")
            if read.shape != self._array.shape or dict(read.attrs) != self._attributes:
                raise ValueError("another header")
        commit_folder(self._partial, self._path, track=self._track)
        return self._path

    def abort(self) -> None:
        """Remove the partial folder, if it exists."""
        remove(self._partial)

    def _row_of(self, plane: int) -> tuple[int, int]:
        """First and last + 1 of the slab planes that share chunks with `plane`."""
        backwards = self._turn.flips[self._axis]
        in_file = self._depth - 1 - plane if backwards else plane
        first = in_file - in_file % CHUNK_SIDE
        last = min(first + CHUNK_SIDE, self._depth)
        return (self._depth - last, self._depth - first) if backwards else (first, last)

    def _write_row(self, first: int, last: int) -> None:
        if self._turn.flips[self._axis]:
            region = slice(self._depth - last, self._depth - first)
        else:
            region = slice(first, last)
        row = self._turn.apply(self._row[:, : last - first])
        for channel in range(0, len(row), CHUNK_CHANNELS):
            channels = slice(channel, channel + CHUNK_CHANNELS)
            where = [channels, slice(None), slice(None), slice(None)]
            where[1 + self._axis] = region
            with writing(self._path):
                self._array[tuple(where)] = row[channels]
            with _reading_back(self._path):
                # Compared as bits, so that NaN equals NaN and -0 differs from 0.
                if not np.array_equal(self._array[tuple(where)].view(np.uint16), row[channels].view(np.uint16)):
                    raise ValueError("other values")


def import_zarr() -> Any:
    """Import zarr, with a compressor lock that is not shared between processes.

    On its first call, blosc makes a lock between processes: a named semaphore, which a killed worker does not
    remove, and which does not exist on machines without /dev/shm. It is for blosc's own threads, which zarr
    switches off.
    """
    import zarr
    from numcodecs import blosc

    if not getattr(blosc, "_MUTEX_IS_INIT", True):
        blosc._MUTEX, blosc._MUTEX_IS_INIT = threading.Lock(), True
    return zarr


def read_logits(path: Path) -> tuple[NDArray[np.float16], Grid]:
    """Read the whole array (C, Z, Y, X) and its grid.

    To read a part, index ``zarr.open_array(path)`` instead.
    """
    zarr = import_zarr()
    array = zarr.open_array(path, mode="r")
    known = array.attrs
    logits: NDArray[np.float16] = np.asarray(array[:])
    _, z, y, x = array.shape
    return logits, Grid(
        (z, y, x), tuple(known["spacing_zyx"]), tuple(known["origin_xyz"]), tuple(known["direction_xyz"])
    )


@contextlib.contextmanager
def _reading_back(path: Path) -> Iterator[None]:
    """Convert any error of reading to an `OutputError`."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise OutputError(
            f"{path}: does not read back as it was written ({error}); the disk may be full or failing"
        ) from error


def _attributes(header: OutputHeader) -> dict[str, object]:
    grid = header.grid
    return {
        "format_version": FORMAT_VERSION,
        "spacing_zyx": list(grid.spacing),
        "origin_xyz": list(grid.origin_xyz),
        "direction_xyz": list(grid.direction_xyz),
        "orientation": grid.orientation,
        "labels": [_plain(label) for label in header.labels],
        "about": dict(header.about),
    }


def _plain(label: Label) -> dict[str, Any]:
    """A label without what only evaluations and DICOM objects use; ``also`` only where it has further channels."""
    left_out = ("tolerance_mm", "code", *(() if label.also else ("also",)))
    return {key: value for key, value in dataclasses.asdict(label).items() if key not in left_out}
