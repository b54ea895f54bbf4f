"""Verified writing of pictures: the file is read back and compared before it gets its final name."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file
from itk_infer.volume.slab import LabelArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def write_label_picture(labels: LabelArray, final: Path, keys: Mapping[str, str], *, track: bool = False) -> None:
    """Write a label map as ``.png``, ``.tif`` or ``.npy``; the values of pixels are those of the labels.

    Args:
        labels: (Z, Y, X), uint8 or uint16; one page for ``.png``.
        final: The final path.
        keys: Properties of the model, as short lines; not stored in ``.npy`` files.
        track: Write an intent, which the ledger's writer removes.

    Raises:
        OutputError: it cannot be written, or reads back differently; no file is left then.
    """
    if final.suffix == ".png":
        write_png(labels[0], final, keys, track=track)
    elif final.suffix == ".tif":
        write_tiff(labels, final, keys, track=track)
    else:
        write_array(labels[0] if len(labels) == 1 else labels, final, track=track)


def write_png(
    pixels: NDArray[Any] | Picture, final: Path, keys: Mapping[str, str], *, track: bool = False
) -> None:
    """Write a PNG. Errors as for `write_label_picture`.

    Args:
        pixels: (Y, X) of uint8 or uint16, or an image of Pillow.
        final: The final path.
        keys: Properties of the model, as text chunks.
        track: Write an intent, which the ledger's writer removes.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in keys.items():
        info.add_text(key, value.encode("latin-1", "replace"))
    picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    with new_file(final, track=track) as partial:
        picture.save(partial, format="PNG", pnginfo=info)
        with Image.open(partial) as read:
            if read.size != picture.size or not np.array_equal(np.asarray(read), np.asarray(picture)):
                raise _differs(final)


def write_tiff(pages: NDArray[Any], final: Path, keys: Mapping[str, str], *, track: bool = False) -> None:
    """Write a TIFF of grey pages, (Z, Y, X). Other arguments and errors as for `write_label_picture`."""
    import tifffile

    description = json.dumps(dict(keys))
    with new_file(final, track=track) as partial:
        tifffile.imwrite(
            partial, pages, photometric="minisblack", compression="zlib", metadata=None, description=description
        )
        read = tifffile.imread(partial)
        if read.dtype != pages.dtype or not np.array_equal(read.reshape(pages.shape), pages):
            raise _differs(final)


def write_array(array: NDArray[Any], final: Path, *, track: bool = False) -> None:
    """Write a ``.npy`` file. Errors as for `write_label_picture`."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    with new_file(final, track=track) as partial:
        partial.write_bytes(stream.getvalue())
        read = np.load(partial, allow_pickle=False)
        if read.dtype != array.dtype or not np.array_equal(read, array):
            raise _differs(final)


def _differs(final: Path) -> OutputError:
    return OutputError(f"{final}: does not read back as it was written; the disk may be full or failing")
