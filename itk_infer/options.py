"""Options of a model run, each declared once: a field of `Options` holds all that is known of one.

Made from it: flags of the command line, keywords of `Predictor`, what travels to workers, what the ledger records,
tables of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from itk_infer.option import Option, OptionError, Shorthand, option
from itk_infer.option_values import (
    a_number,
    a_path,
    a_share,
    batch_size,
    count_of,
    device_name,
    fold_names,
    folder_or_switch,
    number_of_bytes,
    one_of,
    or_none,
    orientation_or_input,
    parse_batch,
    parse_bytes,
    parse_folds,
    parse_skip_empty,
    parse_weights,
    some_weights,
    switch_or_number,
    three_sizes,
    true_or_false,
)

if TYPE_CHECKING:  # the modules of the spec take 13 ms, a tenth of the time of `--help`
    from itk_infer.spec.model_spec import Blend, Triplet

Provider = Literal["auto", "cpu", "openvino", "cuda", "tensorrt"]
PrecisionChoice = Literal["auto", "half", "fp32", "fp16", "bf16"]  # half: the best kind that the device has
CheckpointChoice = Literal["final", "best"]
PictureStyle = Literal["side-by-side", "overlay", "contour"]
BatchChoice = int | Literal["auto"]
BLENDS = ("gaussian", "constant")  # the values of `Blend`

MODEL, WINDOWS, WRITTEN, WORKERS = "Model", "Intensity and windows", "What is written", "Workers"
SPEC, BACKEND, PREDICTOR, BOTH = ("spec",), ("backend",), ("predictor",), ("backend", "predictor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model is loaded and run. Immutable, checked, picklable and hashable.

    Raises:
        OptionError: a value is of the wrong kind or out of range.
    """

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
        help="How --pictures draws: fill and contours, contours, or image and overlay.",
        doc="how `--pictures` draws: image and overlay side by side, the overlay alone (fill and contours), or "
        "contours alone. Pictures that are there stay as they are until `--overwrite`",
        values="as on the command line",
        text=get_args(PictureStyle),
        check=one_of(*get_args(PictureStyle)),
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
    window_level: float | None = option(
        "--wl",
        default=None,
        heading=WINDOWS,
        help="Window level; replaces the model's own.",
        doc="window level, see [how it acts](model-spec.md#level-and-width-on-the-command-line)",
        values="a number",
        unset="the model's",
        text=float,
        metavar="FLOAT",
        check=or_none(a_number),
        used_by=SPEC,
    )
    window_width: float | None = option(
        "--ww",
        default=None,
        heading=WINDOWS,
        help="Window width; replaces the model's own.",
        doc="window width; both are needed where the model has none",
        values="a number",
        unset="the model's",
        text=float,
        metavar="FLOAT",
        check=or_none(a_number),
        used_by=SPEC,
    )
    patch_size: Triplet | None = option(
        "--patch-size",
        default=None,
        heading=WINDOWS,
        help="Window size in voxels.",
        doc="window size in voxels. The stride then goes back to half the patch unless it is given, too",
        values="three whole numbers: Z, Y, X",
        unset="the model's",
        text=int,
        count=3,
        metavar="Z Y X",
        check=or_none(three_sizes),
        used_by=SPEC,
    )
    patch_stride: Triplet | None = option(
        "--patch-stride",
        default=None,
        heading=WINDOWS,
        help="Step between windows; default half the patch.",
        doc="step between windows, at most the patch",
        values="three whole numbers: Z, Y, X",
        unset="the model's, else half the patch",
        text=int,
        count=3,
        metavar="Z Y X",
        check=or_none(three_sizes),
        used_by=SPEC,
    )
    blend: Blend | None = option(
        "--blend",
        default=None,
        heading=WINDOWS,
        help="How windows count where they overlap; default the model's, else gaussian.",
        doc="how windows count where they overlap",
        values="as on the command line",
        unset="the model's, else `gaussian`",
        text=BLENDS,
        check=or_none(one_of(*BLENDS)),
        used_by=SPEC,
    )
    step_size: float | None = option(
        "--step-size",
        default=None,
        heading=WINDOWS,
        help="Step between windows as a share of the patch, as 0.5; instead of --patch-stride.",
        doc="step between windows as a share of the patch; more than the model's is faster and less exact",
        values="a number above 0, at most 1",
        unset="the model's, else 0.5",
        text=float,
        metavar="SHARE",
        check=or_none(a_share),
        used_by=SPEC,
    )
    tta: bool | None = option(
        "--tta",
        default=None,
        heading=WINDOWS,
        help="Average over the mirrorings that the model allows; default what the model says.",
        doc="average the logits over all mirrorings that the spec's `mirror_axes` allow; refused where it allows "
        "none",
        values="`True` or `False`",
        unset="what the model's spec says, usually off; on for nnU-Net models trained with mirroring",
        text=bool,
        check=or_none(true_or_false),
        shorthands=(
            Shorthand(
                "--no-tta",
                False,
                help="No mirroring, where the model would mirror by itself.",
                doc="no mirroring, where the model would mirror by itself; two times faster for each axis",
            ),
        ),
        used_by=PREDICTOR,
        result="other mirroring",
        identity=bool,  # a model that mirrors by itself is settled before
    )
    crop_foreground: float | None = option(
        "--crop-foreground",
        default=None,
        heading=WINDOWS,
        help="Run only the box of voxels above VALUE after intensity; outside is background. Not exact.",
        doc="run only the smallest box that holds every voxel above VALUE after intensity; outside it is "
        "background",
        values="a number",
        unset="off",
        text=float,
        metavar="VALUE",
        check=or_none(a_number),
        used_by=PREDICTOR,
        result="another crop",
    )
    skip_empty: bool | float = option(
        "--skip-empty",
        default=False,
        heading=WINDOWS,
        help="Run windows of one value once only, which changes nothing; with VALUE, also windows nowhere "
        "above it after intensity, which may.",
        doc="windows of one value are run once only, which changes nothing; with VALUE, so are windows that "
        "nowhere exceed it after intensity, which may",
        values="`True`, or a number",
        unset="off",
        metavar="[VALUE]",
        bare="constant",
        check=switch_or_number,
        parse=parse_skip_empty,
        used_by=PREDICTOR,
        result="another rule for empty windows",
        identity=lambda value: None if isinstance(value, bool) else value,  # windows of one value change nothing
    )
    batch: BatchChoice | None = option(
        "--batch",
        default=None,
        heading=WINDOWS,
        help="Windows per call; default the model's, else 1. auto: found on the first case, and remembered.",
        doc="windows per call. More need more memory and are not always faster; `auto` tries on the first image, "
        "see [speed](speed.md#windows-per-call)",
        values='a whole number, or `"auto"`',
        unset="the model's, else 1",
        metavar="[auto|N]",
        check=or_none(batch_size),
        parse=parse_batch,
        used_by=PREDICTOR,
    )
    batch_cache: bool | Path = option(
        "--batch-cache",
        default=True,
        heading=WINDOWS,
        help="Where --batch auto remembers; default the user's cache folder.",
        doc="where `--batch auto` remembers what it found",
        values="a folder; `True`: the user's cache folder; `False`: nowhere",
        unset="the user's cache folder",
        text=Path,
        metavar="FOLDER",
        check=folder_or_switch,
        shorthands=(
            Shorthand(
                "--no-batch-cache",
                False,
                help="--batch auto searches again, remembers nothing.",
                doc="`--batch auto` searches in every run, and writes nothing",
            ),
        ),
        used_by=PREDICTOR,
    )
    threads: int | None = option(
        "--threads",
        default=None,
        heading=WORKERS,
        help="CPU threads a worker; default an equal share of the cores.",
        values="a whole number",
        unset="the cores that it may use",
        text=int,
        least=1,
        metavar="N",
        check=or_none(count_of("threads")),
        used_by=BOTH,
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            given = getattr(self, item.name)
            try:
                object.__setattr__(self, item.name, declaration(item).check(given))
            except ValueError as error:
                raise OptionError(item.name, given, str(error)) from None

    @classmethod
    def from_keywords(cls, **given: Any) -> Options:
        """Options from Python keywords; see `changed`."""
        return cls().changed(**given)

    def changed(self, **given: Any) -> Options:
        """A copy with other values.

        Raises:
            TypeError: an option is unknown.
            OptionError: a value is of the wrong kind or out of range.
        """
        known = declared()
        for name in given:
            if name not in known:
                raise TypeError(f"unknown option {name!r}; there are {', '.join(sorted(known))}")
        return replace(self, **given)

    def identity(self) -> dict[str, Any]:
        """The options that change the result, JSON-ready, as they are recorded in the ledger."""
        return {name: about.identity(getattr(self, name)) for name, about in declared().items() if about.result}

    def absolute(self) -> Options:
        """A copy whose paths do not depend on the current folder."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        paths: dict[str, Any] = {key: path.absolute() for key, path in values.items() if isinstance(path, Path)}
        return replace(self, **paths)


def declaration(item: Field[Any]) -> Option:
    """What a field of `Options` declares."""
    about: Option = item.metadata["option"]
    return about


def declared() -> dict[str, Option]:
    """Every option by its name, in the order of ``--help``."""
    return {item.name: declaration(item) for item in fields(Options)}


def default_of(name: str) -> Any:
    """The default of an option."""
    return next(item.default for item in fields(Options) if item.name == name)


def result_words() -> Iterator[tuple[str, str]]:
    """The options that change the result: name in the ledger, and what completes "was made with ..."."""
    return ((name, about.result) for name, about in declared().items() if about.result)
