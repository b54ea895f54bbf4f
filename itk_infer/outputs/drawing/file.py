"""Pictures as PNG files, written and read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def write_png(picture: Picture, path: Path, *, track: bool, dpi: int | None = None) -> None:
    """Write a picture, read it back, and give it its name.

    Args:
        picture: RGB.
        path: File to write.
        track: Leave an intent, see `new_file`.
        dpi: Dots per inch, for programs that print it; None: not said.

    Raises:
        OutputError: the file cannot be written.
    """
    from PIL import Image

    said: dict[str, Any] = {} if dpi is None else {"dpi": (dpi, dpi)}
    with new_file(path, track=track) as partial:
        picture.save(partial, format="PNG", **said)
        with Image.open(partial) as read:
            if read.size != picture.size or read.tobytes() != picture.tobytes():
                raise OutputError(f"{path}: does not read back as it was written; is the disk full?")
