"""Options of a model run, each declared once: a field of `Options` holds all that is known of one.

Made from it: flags of the command line, keywords of `Predictor`, what travels to workers, what the ledger records,
tables of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from itk_infer.option import Option, OptionError, Shorthand, option
from itk_infer.option_values import (
    a_number,
    a_seed,
    a_share,
    batch_size,
    count_of,
    folder_or_switch,
    from_0_to,
    one_of,
    or_none,
    parse_batch,
    parse_skip_empty,
    switch_or_number,
    three_sizes,
    true_or_false,
)
from itk_infer.options_of_models import BOTH, PREDICTOR, SPEC, WINDOWS, WORKERS, ModelOptions

if TYPE_CHECKING:  # the modules of the spec take 13 ms, a tenth of the time of `--help`
    from itk_infer.spec.model_spec import Blend, Triplet

BatchChoice = int | Literal["auto"]
BLENDS = ("gaussian", "constant")  # the values of `Blend`


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(ModelOptions):
    """How a model is loaded and run. Immutable, checked, picklable and hashable.

    Raises:
        OptionError: a value is of the wrong kind or out of range.
    """

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
    agreement: bool = option(
        "--agreement",
        default=False,
        heading=WINDOWS,
        help="Blend folds, or mirrored copies, apart, average probabilities, and measure how far they agree.",
        doc="blend the folds of a model, or else its mirrorings, apart, average their probabilities, and measure "
        "how far they agree, see [several members](quality.md#several-members)",
        values="`True` or `False`",
        unset="off; the models of an ensemble are always compared",
        text=bool,
        check=true_or_false,
        used_by=PREDICTOR,
        result="other members",
    )
    stability: int = option(
        "--stability",
        default=0,
        heading=WINDOWS,
        help="Also run N slightly changed copies of each window, and measure how far the answers agree.",
        doc="also run N copies of each window with a little noise, another gamma or shifted by a voxel, average, "
        "and measure how far the answers agree",
        values="a whole number, at most 16",
        unset="off",
        text=int,
        metavar="N",
        check=from_0_to(16),
        used_by=PREDICTOR,
        result="another number of perturbed copies",
    )
    mc_dropout: int = option(
        "--mc-dropout",
        default=0,
        heading=WINDOWS,
        help="Run a torch network N times with its dropout switched on, and measure how far the answers agree.",
        doc="run a torch network N times with its dropout layers switched on, average, and measure how far the "
        "answers agree; refused where it has none",
        values="a whole number from 2 to 64",
        unset="off",
        text=int,
        metavar="N",
        check=from_0_to(64, but=1),
        used_by=PREDICTOR,
        result="another number of dropout samples",
    )
    dropout_seed: int = option(
        "--dropout-seed",
        default=0,
        heading=WINDOWS,
        help="Seed of --mc-dropout: another one drops other values.",
        doc="seed of `--mc-dropout`: the same one gives the same mask",
        values="a whole number",
        unset="0",
        text=int,
        metavar="N",
        check=a_seed,
        used_by=PREDICTOR,
        result="another seed of dropout",
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
