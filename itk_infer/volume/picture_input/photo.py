"""Photos: PNG, JPEG, TIFF, BMP, WebP and NumPy arrays, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.names import printable

PHOTOS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy")
MAX_PIXELS = 1 << 28


def read_picture(path: Path) -> NDArray[Any]:
    """A photo, upright.

    Args:
        path: The file.

    Returns:
        (Y, X) or (Y, X, 3), of the type that is stored; without transparency.

    Raises:
        InputError: it is damaged, or is no picture.
    """
    if path.suffix.lower() == ".npy":
        return _array(path)
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{printable(path.name)}: has more than the {MAX_PIXELS:,} pixels that are read")
            upright = PIL.ImageOps.exif_transpose(image)
            if upright.mode in ("P", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"):
                upright = upright.convert("RGB")
            elif upright.mode == "LA":
                upright = upright.convert("L")
            return np.asarray(upright)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise InputError(
            f"{printable(path.name)}: cannot be read as a picture ({type(error).__name__}); copy it again"
        ) from None


def _array(path: Path) -> NDArray[Any]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{printable(path.name)}: cannot be read as an array ({type(error).__name__}); save it again"
        ) from None
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise InputError(
            f"{printable(path.name)}: has shape {values.shape} of {values.dtype}; numbers of shape (Y, X) or "
            "(Y, X, 3) are read"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{printable(path.name)}: holds NaN or infinity; save it again without")
    return np.asarray(values)
