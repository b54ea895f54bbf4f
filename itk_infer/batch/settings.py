"""What a run was asked to do, and the names its files get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itk_infer.batch.cases import Case
from itk_infer.batch.shard import Shard
from itk_infer.errors import ConfigError

FORMATS = ("same", "nii.gz", "nii", "mha", "nrrd", "seg.nrrd")
ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}  # a header apart from its voxels is two files, never atomic


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Folders and outputs of one run.

    Attributes:
        source: Folder of images, or one image.
        output: Output folder.
        recursive: Search sub-folders, and keep them in the output.
        format: One of `FORMATS`.
        save_logits: Write ``<case>.zarr``.
        save_conf: Write ``confidences.xlsx``.
        overwrite: Recompute everything and replace whatever is there.
        shard: Only this part of the cases, with a ledger of its own; None: all.
    """

    source: Path
    output: Path
    recursive: bool = False
    format: str = "same"
    save_logits: bool = False
    save_conf: bool = False
    overwrite: bool = False
    shard: Shard | None = None

    def label_path(self, case: Case) -> Path:
        """Where the label map of a case goes."""
        suffix = ONE_FILE.get(case.suffix, case.suffix) if self.format == "same" else f".{self.format}"
        return self.output / case.folder / f"{case.stem}{suffix}"

    def logits_path(self, case: Case) -> Path:
        """Where the logits of a case go."""
        return self.output / case.folder / f"{case.stem}.zarr"


def make_folder(folder: Path) -> None:
    """Make a folder for outputs.

    Raises:
        ConfigError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be created ({error.strerror})") from None
