"""Pictures as PNG files, written and read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


PART = "itk_infer_labels"  # text in the file: left, top, right and bottom of the part that shows the labels


def part_of(picture: Picture) -> Picture:
    """Crop a picture to the part that shows the labels, if the file has its corners."""
    words = str(picture.info.get(PART, "")).split()
    if len(words) != 4 or not all(word.isdecimal() and len(word) < 7 for word in words):
        return picture
    left, top, right, bottom = map(int, words)
    fits = left < right <= picture.width and top < bottom <= picture.height
    return picture.crop((left, top, right, bottom)) if fits else picture


def write_png(picture: Picture, path: Path, *, track: bool, dpi: int | None = None) -> None:
    """Write a picture, read it back, and give it its name.

    Args:
        picture: RGB; its text `PART` is written, too.
        path: File to write.
        track: Leave an intent, see `new_file`.
        dpi: Dots per inch in the file; None: not stated.

    Raises:
        OutputError: the file cannot be written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    said: dict[str, Any] = {} if dpi is None else {"dpi": (dpi, dpi)}
    if PART in picture.info:
        said["pnginfo"] = PngInfo()
        said["pnginfo"].add_text(PART, picture.info[PART])
    with new_file(path, track=track) as partial:
        picture.save(partial, format="PNG", **said)
        with Image.open(partial) as read:
            if read.size != picture.size or read.tobytes() != picture.tobytes():
                raise OutputError(f"{path}: does not read back as it was written; is the disk full?")
