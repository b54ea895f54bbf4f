"""The table of outputs: one entry each. Plan, resume, ledger, dry run, command line and docs go through it.

Imports nothing heavy; the modules that the table names are imported when a case opens its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable

from itk_infer.errors import ConfigError
from itk_infer.outputs.output_kind import PAGE, PICTURE, VOLUME, OutputKind
from itk_infer.volume.names import is_picture, split_suffix

LABELS = "labels"
REPORT = "report"
PREVIOUS_STAGE = "previous_stage"
DERIVED = "derived"  # in the ledger's `kind` column: a file made from the ledger itself

DICOM_HELP = (
    "Also write DICOM objects beside the label map, a list: seg (segmentation), sr (volumes and means; needs "
    "seg), report (a picture), pdf (the same as a document)."
)
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
            "uncertainty",
            "case",
            "itk_infer.outputs.uncertainty:UncertaintyOutput",
            "map of uncertainty",
            ".uncertainty.nii.gz",
            ("--save-uncertainty",),
            "Also write <case>.uncertainty.nii.gz: how uncertain each voxel is, 0 to 250.",
            frozenset({"uncertainty"}),
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
            "Also write <case>.png: planes through the labels, with contours, uncertainty and a legend.",
            frozenset({"image", "uncertainty"}),
        ),
        OutputKind(
            "report_picture",
            "case",
            "itk_infer.outputs.report_picture:ReportPictureOutput",
            "report picture",
            ".report.png",
            ("--report-picture",),
            "Also write <case>.report.png: planes with contours, volumes, doubts, model and versions on one page.",
            frozenset({"image", VOLUME}),
        ),
        OutputKind(
            "dicom_seg",
            "case",
            "itk_infer.outputs.dicom_seg:SegOutput",
            "DICOM SEG",
            ".seg.dcm",
            ("--dicom",),
            DICOM_HELP,
            frozenset({"source", "masks"}),
            choice="seg",
            package="highdicom",
            extra="dicom",
        ),
        OutputKind(
            "dicom_sr",
            "case",
            "itk_infer.outputs.dicom_sr:SrOutput",
            "DICOM SR",
            ".sr.dcm",
            ("--dicom",),
            DICOM_HELP,
            frozenset({"source", "image"}),
            choice="sr",
            refers_to="dicom_seg",
            package="highdicom",
            extra="dicom",
        ),
        OutputKind(
            "dicom_report",
            "case",
            "itk_infer.outputs.dicom_capture:CaptureOutput",
            "DICOM report",
            ".report.dcm",
            ("--dicom",),
            DICOM_HELP,
            frozenset({"source", "image"}),
            choice="report",
            package="highdicom",
            extra="dicom",
        ),
        OutputKind(
            "dicom_pdf",
            "case",
            "itk_infer.outputs.dicom_pdf:PdfOutput",
            "DICOM PDF",
            ".pdf.dcm",
            ("--dicom",),
            DICOM_HELP,
            frozenset({"source", "image"}),
            choice="pdf",
            package="highdicom",
            extra="dicom",
        ),
        OutputKind(
            "overlays",
            "case",
            "itk_infer.outputs.label_colours:OverlayOutput",
            "overlay",
            ".overlay.png",
            ("--overlays",),
            "Also write <case>.overlay.png: a picture in its own size, labels filled and outlined.",
            frozenset({"image", PICTURE, PAGE}),
        ),
        OutputKind(
            "contours",
            "case",
            "itk_infer.outputs.label_colours:ContourOutput",
            "contours",
            ".contours.png",
            ("--contours",),
            "Also write <case>.contours.png: a picture in its own size, labels outlined.",
            frozenset({"image", PICTURE, PAGE}),
        ),
        OutputKind(
            "palettes",
            "case",
            "itk_infer.outputs.label_colours:PaletteOutput",
            "palette",
            ".palette.png",
            ("--palettes",),
            "Also write <case>.palette.png: the label map of a picture, shown in the labels' colours.",
            frozenset({PICTURE, PAGE}),
        ),
        OutputKind(
            "probabilities",
            "slab",
            "itk_infer.outputs.probabilities:ProbabilityArrays",
            "probabilities",
            ".probabilities.npz",
            ("--probabilities",),
            "Also write <case>.probabilities.npz: of each label of a picture, float32.",
            frozenset({"logits", PICTURE}),
        ),
        OutputKind(
            "probability_pages",
            "slab",
            "itk_infer.outputs.probabilities:ProbabilityPages",
            "probabilities",
            ".probabilities.tif",
            ("--probability-pages",),
            "Also write <case>.probabilities.tif: of each label of a picture, a page of float32.",
            frozenset({"logits", PICTURE}),
            package="tifffile",
            extra="images",
        ),
        OutputKind(
            "probability_png",
            "slab",
            "itk_infer.outputs.probabilities:ProbabilityPicture",
            "probability picture",
            ".probability.png",
            ("--probability-png",),
            "Also write <case>.probability.png: of any label of a picture, 16 bits.",
            frozenset({"logits", PICTURE, PAGE}),
        ),
        OutputKind(
            "yolo",
            "case",
            "itk_infer.outputs.yolo:YoloOutput",
            "YOLO polygons",
            ".txt",
            ("--yolo",),
            "Also write <case>.txt: polygons of a picture's labels for YOLO; they lose holes.",
            frozenset({PICTURE, PAGE}),
            painted=True,
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
        OutputKind(
            "coco",
            "run",
            "itk_infer.outputs.tables.coco:tables",
            "COCO table",
            "coco.json",
            ("--coco",),
            "Also write coco.json: the labels of all pictures as objects, in run lengths.",
            frozenset({PICTURE}),
            package="pycocotools",
            extra="images",
            painted=True,
        ),
        OutputKind(
            "coco_polygons",
            "run",
            "itk_infer.outputs.tables.coco:polygon_tables",
            "COCO polygons",
            "coco-polygons.json",
            ("--coco-polygons",),
            "Also write coco-polygons.json: the same as polygons, which lose holes.",
            frozenset({PICTURE}),
            painted=True,
        ),
    )
}


def case_outputs() -> list[OutputKind]:
    """The outputs of which each case has a file."""
    return [kind for kind in OUTPUTS.values() if kind.stage != "run"]


def run_outputs() -> list[OutputKind]:
    """The outputs that are made from the ledger."""
    return [kind for kind in OUTPUTS.values() if kind.stage == "run"]


def optional_outputs() -> list[OutputKind]:
    """The outputs that are written on request only."""
    return [kind for kind in OUTPUTS.values() if kind.flags]


def check_requests(names: Iterable[str]) -> None:
    """Check that outputs can be written together, and that their packages are installed.

    Args:
        names: All outputs that are requested.

    Raises:
        ConfigError: an output lacks another one, or a package.
    """
    names = tuple(names)
    for kind in (OUTPUTS[name] for name in names):
        other = OUTPUTS.get(kind.refers_to)
        if other is not None and other.name not in names:
            raise ConfigError(
                f"`{kind.keyword}={kind.choice}`: a {kind.title} refers to the {other.title} of its case; give "
                f"`{kind.keyword}={other.choice},{kind.choice}`"
            )
        if not kind.is_installed:
            raise ConfigError(
                f"`{kind.keyword}` needs the package {kind.package}: pip install 'itk_infer[{kind.extra}]'"
            )


def label_maps(names: Iterable[str]) -> list[str]:
    """Select the files of a folder that may be label maps, by their names.

    Other outputs of this program are left out, and so are pictures beside volumes, which are drawings.
    """
    others = tuple(f".{kind.name}{kind.ending}" for kind in case_outputs()) + tuple(
        str(kind.ending) for kind in case_outputs() if str(kind.ending).count(".") > 1
    )
    images = [name for name in names if split_suffix(name)[1] and not name.startswith(".")]
    maps = [name for name in images if not name.lower().endswith(others)]
    return [name for name in maps if not is_picture(name)] or maps


def needs(names: Iterable[str]) -> frozenset[str]:
    """Names of what slabs and cases must carry for these outputs, see `OutputKind.needs`."""
    return frozenset().union(*(OUTPUTS[name].needs for name in names))


def painted_note(names: Iterable[str], decision: str, labels: int) -> str:
    """A note for a model whose labels overlap, if outputs of these names are `painted`; else empty."""
    titles = [OUTPUTS[name].title for name in names if OUTPUTS[name].painted]
    if decision != "threshold" or labels < 2 or not titles:
        return ""
    return (
        f"labels of this model may overlap; {' and '.join(titles)} have one label per pixel, as the label map: "
        "where several are, the one that is listed last (`probabilities` keeps all)"
    )
