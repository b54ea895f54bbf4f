"""One entry of the table of outputs, and the formats of label maps."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

LABEL_FORMATS = ("same", "nii.gz", "nii", "mha", "nrrd", "seg.nrrd", "png", "tif", "npy")
SERIES_FORMAT = ".nii.gz"  # label maps of DICOM series
ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}  # a separate header would be a second file, so not atomic
# Formats of label maps for pictures of formats that would change label values, or hold several arrays.
LOSSLESS = {".jpg": ".png", ".jpeg": ".png", ".bmp": ".png", ".webp": ".png", ".tiff": ".tif", ".npz": ".npy"}
PAGE, PICTURE, VOLUME = "page", "picture", "volume"  # values of `OutputKind.needs`


@dataclass(frozen=True, slots=True)
class OutputKind:
    """One output.

    Attributes:
        name: Name in tasks and, for outputs of a case, in the ledger's `kind` column.
        stage: ``slab``: a `Sink`, which takes slabs as they are decided. ``case``: a `CaseOutput`, which takes
            the finished label map. ``run``: a function from `FolderView` to `Table` by file name, called after
            the last case.
        target: ``module:attribute`` of that class or function. Outputs of a case are called with path and header.
        title: Its name in messages.
        ending: End of a case's file name, after the image's stem; None: by `LABEL_FORMATS`. Of a run: file name.
        flags: Flags that request it; the first one, without dashes, is the Python keyword.
            Empty: always written.
        help: Help text of the flags.
        needs: What the output needs: of slabs, besides labels, ``logits``; of the case, ``image``; ``volume``,
            ``picture`` or ``page``: that the image is of this kind (a page: a picture of one page);
            ``uncertainty``; ``masks``: those of labels that overlap; or ``source``: the DICOM series.
        choice: Its word in the comma-separated list of a flag that several outputs share. Empty: a flag
            without a value.
        refers_to: Name of an output that must be requested, too; empty: none.
        package: Package that must be installed to write it; empty: none.
        extra: The extra that installs it.
        painted: Whether objects of labels that overlap are cut: it is made of the label map, one label per voxel.
    """

    name: str
    stage: Literal["slab", "case", "run"]
    target: str
    title: str
    ending: str | None = None
    flags: tuple[str, ...] = ()
    help: str = ""
    needs: frozenset[str] = frozenset()
    choice: str = ""
    refers_to: str = ""
    package: str = ""
    extra: str = ""
    painted: bool = False

    @property
    def request(self) -> str:
        """The flag, with its word, that requests it on the command line."""
        return f"{self.flags[0]} {self.choice}".rstrip() if self.flags else ""

    @property
    def is_installed(self) -> bool:
        """Whether the package that writes it is installed."""
        return not self.package or find_spec(self.package) is not None

    @property
    def keyword(self) -> str:
        """The name of its Python keyword."""
        return self.flags[0].removeprefix("--").replace("-", "_") if self.flags else ""

    def file_name(self, stem: str, suffix: str, label_format: str) -> str:
        """Return the name of a case's file.

        Args:
            stem: Stem of the image's name.
            suffix: Suffix of the image's name, with its dot; empty for a DICOM series.
            label_format: One of `LABEL_FORMATS`.
        """
        labels = f".{label_format}"
        if label_format == "same":
            labels = {**ONE_FILE, **LOSSLESS}.get(suffix, suffix) or SERIES_FORMAT
        if self.ending == labels:  # the label map has that name
            return f"{stem}.{self.name}{self.ending}"
        return stem + (labels if self.ending is None else self.ending)

    def load(self) -> Any:
        """Import and return the class or function of `target`."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)
