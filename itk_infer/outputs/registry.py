"""The table of outputs: one entry each. Plan, resume, ledger, dry run, command line and docs go through it.

Imports nothing heavy; the modules that the table names are imported when a case opens its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

LABELS = "labels"
REPORT = "report"
PREVIOUS_STAGE = "previous_stage"
DERIVED = "derived"  # in the ledger's `kind` column: a file made from the ledger itself

LABEL_FORMATS = ("same", "nii.gz", "nii", "mha", "nrrd", "seg.nrrd")
SERIES_FORMAT = ".nii.gz"  # of the label map of a DICOM series
ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}  # a header apart from its voxels is two files, never atomic


@dataclass(frozen=True, slots=True)
class OutputKind:
    """One output.

    Attributes:
        name: In tasks and, for outputs of a case, in the ledger's `kind` column.
        stage: ``slab``: a `Sink`, which takes slabs as they are decided. ``case``: a `CaseOutput`, which takes
            the finished label map. ``run``: a function from `FolderView` to `Table` by file name, called after
            the last case.
        target: ``module:attribute`` of that class or function. Outputs of a case are made of path and header.
        title: Its name in messages.
        ending: Of a case's file, behind the image's stem; None: by `LABEL_FORMATS`. Of a run: the file's name.
        flags: Request it; the first one, without dashes, is the field of `RunSettings` and the Python keyword.
            Empty: always written.
        help: Of the flags, for the command line.
        needs: What its slabs must carry besides labels: ``logits``; or the case: ``image``.
    """

    name: str
    stage: Literal["slab", "case", "run"]
    target: str
    title: str
    ending: str | None = None
    flags: tuple[str, ...] = ()
    help: str = ""
    needs: frozenset[str] = frozenset()

    @property
    def keyword(self) -> str:
        """The name of its option in Python."""
        return self.flags[0].removeprefix("--").replace("-", "_") if self.flags else ""

    def file_name(self, stem: str, suffix: str, label_format: str) -> str:
        """The name of a case's file.

        Args:
            stem: Of the image.
            suffix: Of the image, with its dot; empty for a DICOM series.
            label_format: One of `LABEL_FORMATS`.
        """
        if self.ending is not None:
            return f"{stem}{self.ending}"
        if label_format == "same":
            return stem + (ONE_FILE.get(suffix, suffix) or SERIES_FORMAT)
        return f"{stem}.{label_format}"

    def load(self) -> Any:
        """The class or function behind it; imports its module."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


OUTPUTS: dict[str, OutputKind] = {
    kind.name: kind
    for kind in (
        OutputKind(LABELS, "slab", "itk_infer.outputs.labels:open_labels", "label map"),
        OutputKind(
            "logits",
            "slab",
            "itk_infer.outputs.logits:LogitsSink",
            "logits",
            ".zarr",
            ("--save-logits",),
            "Also write <case>.zarr: float16 logits (C, Z, Y, X).",
            frozenset({"logits"}),
        ),
        OutputKind(
            "channel_masks",
            "slab",
            "itk_infer.outputs.channel_masks:ChannelMasksSink",
            "channel masks",
            "_channels.nii.gz",
            ("--save-channels",),
            "Also write <case>_channels.nii.gz: 4D, one mask per label.",
        ),
        OutputKind(
            PREVIOUS_STAGE,
            "case",
            "itk_infer.outputs.previous_stage:PreviousStageOutput",
            "label map of the first stage",
            "_previous.nii.gz",
            ("--keep-previous",),
            "Cascades: also write <case>_previous.nii.gz, what the first stage found.",
        ),
        OutputKind(
            "pictures",
            "case",
            "itk_infer.outputs.picture:PictureOutput",
            "picture",
            ".png",
            ("--pictures",),
            "Also write <case>.png: planes through the labels, with contours and a legend.",
            frozenset({"image"}),
        ),
        OutputKind(
            "label_table", "run", "itk_infer.outputs.tables.label_table:tables", "label table", "labels.csv"
        ),
        OutputKind(
            "workbook",
            "run",
            "itk_infer.outputs.tables.workbook:tables",
            "spreadsheet",
            "confidences.xlsx",
            ("--save-conf", "--save-confidences"),
            "Also write confidences.xlsx: one row per mask.",
        ),
        OutputKind(
            REPORT,
            "run",
            "itk_infer.outputs.tables.report.files:tables",
            "report",
            "report.html",
            ("--report",),
            "Also write report.html: all cases, the doubtful ones first, for a review.",
        ),
        OutputKind(
            "montage",
            "run",
            "itk_infer.outputs.tables.montage:tables",
            "montage",
            "montage.png",
            ("--montage",),
            "Also write montage.png: the pictures of a folder, the most doubtful first.",
        ),
    )
}


def case_outputs() -> list[OutputKind]:
    """The outputs that each case has files of."""
    return [kind for kind in OUTPUTS.values() if kind.stage != "run"]


def run_outputs() -> list[OutputKind]:
    """The outputs that are made from the ledger."""
    return [kind for kind in OUTPUTS.values() if kind.stage == "run"]


def optional_outputs() -> list[OutputKind]:
    """The outputs that are written on request only."""
    return [kind for kind in OUTPUTS.values() if kind.flags]


def needs(names: Iterable[str]) -> frozenset[str]:
    """What the slabs must carry for these outputs."""
    return frozenset().union(*(OUTPUTS[name].needs for name in names))
