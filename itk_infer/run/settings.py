"""What a run was asked to do, and the names its files get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.run.cases import Case, Inputs, find_cases
from itk_infer.run.shard import Shard

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
        file_name: Name of the one label map to write in `output`; neither ledger nor tables are. None: a folder's.
    """

    source: Path
    output: Path
    recursive: bool = False
    format: str = "same"
    save_logits: bool = False
    save_conf: bool = False
    overwrite: bool = False
    shard: Shard | None = None
    file_name: str | None = None

    @property
    def target(self) -> Path:
        """What a person calls the output: the folder, or the one file."""
        return self.output / (self.file_name or "")

    @property
    def target_logits(self) -> Path:
        """Where the logits of the one file go."""
        return self.target.with_name(f"{self.target.name.removesuffix(f'.{self.format}')}.zarr")

    def find_inputs(self, channels: int) -> Inputs:
        """The cases of this run, and what it passes over. Errors as of `find_cases`.

        Args:
            channels: Input channels of the model.
        """
        output = self.output if self.file_name is None else None
        found = find_cases(self.source, output, recursive=self.recursive, channels=channels)
        if self.shard is None:
            return found
        return Inputs(tuple(self.shard.select(found.cases)), tuple(self.shard.select(found.passed)), found.notes)

    def label_path(self, case: Case) -> Path:
        """Where the label map of a case goes."""
        if self.file_name is not None:
            return self.target
        suffix = ONE_FILE.get(case.suffix, case.suffix) if self.format == "same" else f".{self.format}"
        return self.output / case.folder / f"{case.stem}{suffix}"

    def logits_path(self, case: Case) -> Path:
        """Where the logits of a case go."""
        if self.file_name is not None:
            return self.target_logits
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
