"""The settings of a run, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer.case.case import Case
from itk_infer.errors import ConfigError
from itk_infer.outputs.output_kind import LABEL_FORMATS, OutputKind
from itk_infer.outputs.registry import LABELS, OUTPUTS, case_outputs, check_requests
from itk_infer.run.cases import Inputs, find_cases
from itk_infer.run.shard import Shard
from itk_infer.spec import InputSpec
from itk_infer.spec.calibration import Calibration
from itk_infer.spec.series_rule import SeriesRule

FORMATS = LABEL_FORMATS


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Folders and outputs of one run.

    Attributes:
        input: Folder of images, or one image.
        output: Output folder.
        recursive: Search sub-folders, and keep them in the output.
        format: One of `FORMATS`.
        save_logits: Write ``<case>.zarr``; the same as ``logits`` in `save`.
        save_conf: Write ``confidences.xlsx``; the same as ``workbook`` in `save`.
        overwrite: Recompute everything and replace whatever is there.
        shard: Compute only this part of the cases, with a ledger of its own; None: all.
        file_name: Name of a single label map to write, without ledger and tables; None: a folder of results.
        series: Rules that choose the DICOM series of a study, instead of those of the model's spec.
        case_name: Template of names of DICOM cases, such as ``{PatientID}``; empty: names of folders.
        calibration: Gives each mask a verdict in the tables; changes no mask.
        summary: JSON file with the result of each case, written at the end; None: none.
        save: Names of outputs to write besides those that are always written, see `itk_infer.outputs.registry`.

    Raises:
        ConfigError: `save` has an unknown output, or one that cannot be written.
    """

    input: Path
    output: Path
    recursive: bool = False
    format: str = "same"
    save_logits: bool = False
    save_conf: bool = False
    overwrite: bool = False
    shard: Shard | None = None
    file_name: str | None = None
    save: tuple[str, ...] = ()
    series: tuple[SeriesRule, ...] = ()
    case_name: str = ""
    calibration: Calibration | None = None
    summary: Path | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.save if name not in OUTPUTS]
        if unknown:
            raise ConfigError(f"save {unknown[0]!r}: no such output; there are {', '.join(OUTPUTS)}")
        check_requests(self.outputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs to write, in the order of the table."""
        return tuple(kind.name for kind in OUTPUTS.values() if self._is_wanted(kind))

    def _is_wanted(self, kind: OutputKind) -> bool:
        return not kind.flags or kind.name in self.save or bool(getattr(self, kind.keyword, False))

    @property
    def target(self) -> Path:
        """The output as the user gave it: the folder, or the one file."""
        return self.output / (self.file_name or "")

    @property
    def target_files(self) -> tuple[Path, ...]:
        """The one file, and other outputs that may be written beside it."""
        stem = self.target.name.removesuffix(f".{self.format}")
        return tuple(self.output / kind.file_name(stem, "", self.format) for kind in case_outputs())

    def find_inputs(self, wanted: InputSpec) -> Inputs:
        """Find the cases of this run, and inputs that it passes over. Raises what `find_cases` raises.

        Args:
            wanted: The model's input.
        """
        output = self.output if self.file_name is None else None
        if self.series:
            wanted = replace(wanted, series=self.series)
        found = find_cases(self.input, output, recursive=self.recursive, wanted=wanted, case_name=self.case_name)
        if self.shard is None:
            return found
        return Inputs(tuple(self.shard.select(found.cases)), tuple(self.shard.select(found.passed)), found.notes)

    def paths(self, case: Case) -> dict[str, Path]:
        """Paths of all outputs of a case by name, wanted or not."""
        names = [kind.name for kind in case_outputs()]
        if self.file_name is not None:
            return dict(zip(names, self.target_files, strict=True))
        folder = self.output / case.folder
        return {name: folder / OUTPUTS[name].file_name(case.stem, case.suffix, self.format) for name in names}

    def label_path(self, case: Case) -> Path:
        """Path of the label map of a case."""
        return self.paths(case)[LABELS]
