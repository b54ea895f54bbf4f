"""Options that say what a model is, where it runs, and what is written: the first part of `Options`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from itk_infer.option import Shorthand, option
from itk_infer.option_values import (
    a_path,
    device_name,
    dots_per_inch,
    fold_names,
    from_1_to_99999,
    number_of_bytes,
    one_of,
    or_none,
    orientation_or_input,
    parse_bytes,
    parse_folds,
    parse_weights,
    some_weights,
    true_or_false,
)

if TYPE_CHECKING:  # the modules of the spec take 13 ms, a tenth of the time of `--help`
    pass

Provider = Literal["auto", "cpu", "openvino", "cuda", "tensorrt"]
PrecisionChoice = Literal["auto", "half", "fp32", "fp16", "bf16"]  # half: the best kind that the device has
CheckpointChoice = Literal["final", "best"]
PictureStyle = Literal["side-by-side", "overlay", "contour", "heatmap", "montage"]
SegType = Literal["binary", "labelmap"]

MODEL, WINDOWS, WRITTEN, WORKERS = "Model", "Intensity and windows", "What is written", "Workers"
SPEC, BACKEND, PREDICTOR, BOTH = ("spec",), ("backend",), ("predictor",), ("backend", "predictor")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """See `itk_infer.options.Options`."""

    orientation: str = option(
        "--orientation",
        default="LPI",
        heading=WRITTEN,
        help="Grid of the outputs; input: exactly the input's.",
        values='a code such as `"RAS"`, or `"input"`',
        metavar="[LPI|input|CODE]",
        check=orientation_or_input,
        used_by=PREDICTOR,
        result="another output orientation",
    )
    spec: Path | None = option(
        "--spec",
        default=None,
        heading=MODEL,
        help="Model spec (JSON) above what the model itself says.",
        doc="a [model spec](model-spec.md) above what the model itself says",
        values="a path",
        unset="none",
        text=Path,
        metavar="PATH",
        check=or_none(a_path),
        used_by=SPEC,
    )
    picture_style: PictureStyle = option(
        "--picture-style",
        default="side-by-side",
        heading=WRITTEN,
        help="How --pictures draws; side-by-side: image, overlay and uncertainty of each plane.",
        doc="how `--pictures` draws: image, overlay and uncertainty side by side, one of these alone, contours "
        "alone, or many planes. Pictures that are there stay as they are until `--overwrite`",
        values="as on the command line",
        text=get_args(PictureStyle),
        check=one_of(*get_args(PictureStyle)),
        used_by=PREDICTOR,
    )
    seg_type: SegType = option(
        "--seg-type",
        default="binary",
        heading=WRITTEN,
        help="Encoding of the DICOM SEG: a mask per label, which all viewers read, or one map (2024 and later).",
        doc="how a [DICOM SEG](dicom.md#objects) is encoded: `binary`, one mask per label and slice, which all "
        "viewers read; or `labelmap`, one map, smaller, which viewers read from 2024 on",
        values="as on the command line",
        text=get_args(SegType),
        check=one_of(*get_args(SegType)),
        used_by=PREDICTOR,
        result="another encoding of the DICOM SEG",
        outputs=("dicom_seg", "dicom_sr"),  # the latter refers to the former
    )
    series_number: int = option(
        "--series-number",
        default=900,
        heading=WRITTEN,
        help="Series number of the DICOM SEG; SR, report and PDF have the three that follow.",
        doc="series number of the [DICOM SEG](dicom.md#objects); SR, report and PDF have the three that follow",
        values="a whole number from 1 to 99999",
        unset="900",
        text=int,
        metavar="N",
        check=from_1_to_99999,
        used_by=PREDICTOR,
        result="another series number of the DICOM objects",
        outputs=("dicom_seg", "dicom_sr", "dicom_report", "dicom_pdf"),
    )
    picture_dpi: int = option(
        "--picture-dpi",
        default=100,
        heading=WRITTEN,
        help="Dots per inch of --pictures: 300 gives three times as many pixels, for print.",
        doc="dots per inch of `--pictures`: 300 gives the same picture three times as wide and high, for print",
        values="a whole number from 50 to 600",
        unset="100",
        text=int,
        metavar="N",
        check=dots_per_inch,
        used_by=PREDICTOR,
    )
    postprocess: Path | None = option(
        "--postprocess",
        default=None,
        heading=MODEL,
        help="Rules (JSON) that clean up the finished label map, instead of the model's own.",
        doc="[rules](quality.md#post-processing) that clean up the finished label map, instead of the model's own",
        values="a path",
        unset="the model's, usually none",
        text=Path,
        metavar="RULES.json",
        check=or_none(a_path),
        used_by=SPEC,
    )
    nnunet_postprocessing: bool | None = option(
        "--nnunet-postprocessing",
        default=None,
        heading=MODEL,
        help="Apply the postprocessing.json that nnU-Net stored beside the folds of the model.",
        doc="apply the post-processing that nnU-Net found best for the model and stored beside its folds; without "
        "it, a note says that there is one",
        values="`True` or `False`",
        unset="off",
        text=bool,
        check=or_none(true_or_false),
        used_by=BACKEND,
    )
    folds: tuple[str, ...] | None = option(
        "--folds",
        default=None,
        heading=MODEL,
        help="Folds of an nnU-Net model whose logits are averaged, as 0,2 or all (fold_all); default every one.",
        doc="folds of an nnU-Net model, such as `0,2`; their logits are averaged. `all` is the folder `fold_all`, "
        "not every fold",
        values='numbers, or `"all"`; one or several',
        unset="every numbered fold that is there, else `fold_all`",
        metavar="LIST",
        check=or_none(fold_names),
        parse=parse_folds,
        used_by=BACKEND,
    )
    checkpoint: CheckpointChoice | None = option(
        "--checkpoint",
        default=None,
        heading=MODEL,
        help="Checkpoint of each fold of an nnU-Net model; default final, or best where there is no final one.",
        doc="checkpoint of each fold of an nnU-Net model: that of the last epoch, or the best of training",
        values="as on the command line",
        unset="`final`, or `best` where a fold has no final one",
        text=get_args(CheckpointChoice),
        check=or_none(one_of(*get_args(CheckpointChoice))),
        used_by=BACKEND,
    )
    device: str = option(
        "--device",
        default="auto",
        heading=MODEL,
        help="auto takes a GPU where there is one, and says which device it took.",
        doc="`auto` takes a GPU where there is one, else the CPU, and says which. A GPU that was asked for and is "
        "not there is an error",
        values='`"auto"`, `"cpu"`, `"cuda"` or `"cuda:N"`',
        metavar="[auto|cpu|cuda[:N]]",
        check=device_name,
        used_by=BACKEND,
    )
    provider: Provider = option(
        "--provider",
        default="auto",
        heading=MODEL,
        help="What runs the network; auto: CUDA on a GPU, OpenVINO on a CPU where it is installed.",
        doc="what runs the network, see [speed](speed.md). `auto`: CUDA on a GPU; on a CPU OpenVINO where it is "
        "installed and can run the network, else onnxruntime or torch",
        values="as on the command line",
        text=get_args(Provider),
        check=one_of(*get_args(Provider)),
        used_by=BACKEND,
    )
    precision: PrecisionChoice = option(
        "--precision",
        default="auto",
        heading=MODEL,
        help="auto: as the model is stored. Others are compared with fp32 on the first case.",
        doc="`auto`: as the model is stored. Another is compared with fp32 on the first case, and given up where "
        "it differs too much",
        values='as on the command line; `"half"`: the best half precision of the device',
        text=("auto", "fp32", "fp16", "bf16"),
        check=one_of(*get_args(PrecisionChoice)),
        shorthands=(
            Shorthand(
                "--fp16",
                "half",
                help="The best half precision of this device, if it has one.",
                doc="the best half precision of this device; fp32 with a printed reason where it has none",
                agrees=("fp16",),
            ),
        ),
        used_by=BACKEND,
        result="another precision",
    )
    previous_stage: Path | None = option(
        "--previous-stage",
        default=None,
        heading=MODEL,
        help="First stage of an nnU-Net cascade: model folder, or folder of its masks; default beside the second.",
        doc="first stage of an nnU-Net cascade: its model folder, where that does not lie beside the second's, or "
        "a folder of its label maps",
        values="a path",
        unset="found beside the model folder",
        text=Path,
        metavar="FOLDER",
        check=or_none(a_path),
        used_by=BACKEND,
    )
    weights: tuple[float, ...] | None = option(
        "--weights",
        default=None,
        heading=MODEL,
        help="How much each -m counts where several are averaged, as 2,1,1; default all the same.",
        doc="how much each of several models counts, such as `2,1,1`, see [ensembles](ensembles.md)",
        values="numbers above 0, one per model",
        unset="all the same, or what the ensemble file says",
        metavar="LIST",
        check=or_none(some_weights),
        parse=parse_weights,
        used_by=BACKEND,
    )
    max_ram: int | None = option(
        "--max-ram",
        default=None,
        heading=MODEL,
        help="Refuse images that need more memory, as 12G; default what the machine has.",
        doc="memory an image may need besides the network, such as `12G`; one that needs more fails with the "
        "numbers and the limit's name, before it is computed. `--dry-run` prints what each needs",
        values="bytes",
        unset="what is left of the machine's memory, the limits of the container or job (control groups) and "
        "`ulimit -v`, `-d`",
        metavar="SIZE",
        check=or_none(number_of_bytes),
        parse=parse_bytes,
        used_by=PREDICTOR,
    )
    max_vram: int | None = option(
        "--max-vram",
        default=None,
        heading=MODEL,
        help="GPU memory that may be used; what does not fit is kept in host memory. Default what is free.",
        doc="memory of a GPU that may be used; where the overlapping windows do not fit there, they are summed in "
        "host memory, and the run says so",
        values="bytes",
        unset="what is free",
        metavar="SIZE",
        check=or_none(number_of_bytes),
        parse=parse_bytes,
        used_by=BOTH,
    )
