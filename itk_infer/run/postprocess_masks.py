"""Post-process existing label maps, from one folder to another, without a model."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itk_infer._version import __version__
from itk_infer.errors import ConfigError, InputError, ItkInferError, NoInputError
from itk_infer.files.folders import make_folder
from itk_infer.outputs.output_kind import LOSSLESS, ONE_FILE
from itk_infer.outputs.registry import label_maps
from itk_infer.spec import Label
from itk_infer.spec.labels import default_color
from itk_infer.spec.postprocessing import Rule, check_labels
from itk_infer.volume.layered_file import SEGMENTATION, STACKED, is_layered, read_layered, write_layered
from itk_infer.volume.marks import own_keys
from itk_infer.volume.names import is_picture, printable, split_suffix

if TYPE_CHECKING:
    from itk_infer.volume.postprocess import RuleEffect

LABEL_TABLE = "labels.csv"
ABOUT = {"postprocessed": __version__}


@dataclass(frozen=True, slots=True)
class MaskResult:
    """The result for one label map.

    Attributes:
        name: Its path below the folder.
        effects: What the rules changed.
        kept: Why an existing file was kept; else empty.
        failure: Why it failed; else empty.
    """

    name: str
    effects: tuple[RuleEffect, ...] = ()
    kept: str = ""
    failure: str = ""


def postprocess_masks(
    masks: Path,
    output: Path,
    rules: Sequence[Rule],
    *,
    table: Path | None = None,
    overwrite: bool = False,
    recursive: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Iterator[MaskResult]:
    """Apply rules to label maps, one after the other; a failure does not stop the others.

    Args:
        masks: Folder of label maps, or one label map.
        output: Folder for the results, which get the same names.
        rules: The rules to apply.
        table: Label table, see `read_label_table`; None: that of the run whose output folder it is, or
            ``labels.csv`` beside the masks, if there is one. Files with one volume per label need it in their
            order.
        overwrite: Replace existing files.
        recursive: Search sub-folders, too.
        check: Called before each label map; raises to stop.

    Raises:
        ConfigError: the folders cannot be used, the label table cannot be read, or lacks a label of a rule.
        NoInputError: there is no label map.
    """
    folder = masks if masks.is_dir() else masks.parent
    if output.resolve() == folder.resolve():
        raise ConfigError(f"{output}: is the folder of the masks, which are never changed; choose another one")
    labels = _labels(folder, table)
    files = _found(masks, output, recursive)
    if not files:
        raise NoInputError(f"{masks}: holds no label map; searched for .nii.gz, .nii, .mha, .mhd and .nrrd")
    if labels and not all(
        path.name.lower().endswith(SEGMENTATION) for path in files
    ):  # these have their own names
        check_labels(rules, labels)
    for path in files:
        check()
        name = path.relative_to(folder)
        stem, suffix = split_suffix(path.name)
        target = output / name.parent / f"{stem}{({**ONE_FILE, **LOSSLESS}).get(suffix, suffix)}"
        if os.path.lexists(target) and not overwrite:
            yield MaskResult(name.as_posix(), kept=f"{target} is there already; `overwrite` replaces it")
            continue
        try:
            if is_layered(path):
                effects = _layered(path, target, rules, labels)
            else:
                effects = _plain(path, target, rules, labels)
            yield MaskResult(name.as_posix(), effects)
        except ItkInferError as error:
            sentence = str(error).removeprefix(f"{printable(path.name)}: ")
            yield MaskResult(name.as_posix(), failure=sentence)


def read_label_table(path: Path) -> tuple[Label, ...]:
    """Read values and names of a label table in the form that runs write: columns LabelValue and Name.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
        labels = tuple(_label(int(row["LabelValue"]), row["Name"]) for row in rows if int(row["LabelValue"]))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, csv.Error):
        raise ConfigError(f"{path}: is not a label table with the columns LabelValue and Name") from None
    if any(not 1 <= label.value <= 65535 for label in labels):
        raise ConfigError(f"{path}: label values lie between 1 and 65535")
    return labels


def _label(value: int, name: str = "") -> Label:
    return Label(value, name or f"label {value}", default_color(value), value)


def _found(masks: Path, output: Path, recursive: bool) -> list[Path]:
    if not masks.is_dir():
        return [masks]
    found = []
    for root, folders, names in os.walk(masks):
        folders[:] = sorted(
            name
            for name in folders
            if recursive and not name.startswith(".") and Path(root, name).resolve() != output.resolve()
        )
        maps = {*label_maps(names), *(name for name in names if name.endswith(STACKED))}
        found += [Path(root, name) for name in sorted(maps)]
    return found


def _labels(folder: Path, table: Path | None) -> tuple[Label, ...]:
    """The labels of masks: of the table that is given, of the run that made them, or of a table beside them."""
    from itk_infer.run.ledger import NAME, Ledger

    if table is None and (folder / NAME).is_file():
        with closing(Ledger(folder, read_only=True)) as ledger:
            of_run = tuple(
                _label(label["value"], label["name"]) for label in ledger.last_model().get("labels", ())
            )
        if of_run:
            return of_run
    beside = folder / LABEL_TABLE
    table = table or (beside if beside.is_file() else None)
    return () if table is None else read_label_table(table)


def _layered(path: Path, target: Path, rules: Sequence[Rule], labels: tuple[Label, ...]) -> tuple[RuleEffect, ...]:
    """Post-process a file whose labels may overlap; those of a single layer do not, and are a label map."""
    from itk_infer.volume.postprocess import apply_rules
    from itk_infer.volume.postprocess_layers import apply_rules_to_layers

    file = read_layered(path, labels)
    if file.one_layer:
        values = [label.value for label in file.table]
        array = np.zeros(file.grid.size, np.min_scalar_type(max(values)))
        file.masks.painted(values, array)
        array, effects = apply_rules(array, file.grid, file.table, rules)
        for number, value in enumerate(values):
            file.masks[number] = array == value
    else:
        effects = apply_rules_to_layers(file.masks, file.grid, file.table, rules)
    make_folder(target.parent)
    write_layered(file, target, own_keys(ABOUT))
    return effects


def _plain(path: Path, target: Path, rules: Sequence[Rule], labels: tuple[Label, ...]) -> tuple[RuleEffect, ...]:
    """Post-process a label map."""
    from itk_infer.volume.postprocess import apply_rules
    from itk_infer.volume.read import read_image
    from itk_infer.volume.write import write_volume
    from itk_infer.volume.write_picture import write_label_picture

    read = read_image(path)
    array = _values(read.array)
    there = [int(value) for value in np.unique(array) if value]
    unnamed = tuple(_label(value) for value in there if value not in {label.value for label in labels})
    table = (*labels, *unnamed)
    if not labels:  # a value that a rule names may be absent from this mask
        named = {n for rule in rules for key in ("labels", "of") for n in getattr(rule, key, ())}
        table += tuple(_label(n) for n in sorted(n for n in named if isinstance(n, int)) if n not in there)
    highest = max((label.value for label in table), default=0)
    array = array.astype(np.promote_types(array.dtype, np.min_scalar_type(highest)), copy=False)
    result, effects = apply_rules(array, read.grid, table, rules)
    keys = own_keys(ABOUT)
    make_folder(target.parent)
    if is_picture(target.name):
        write_label_picture(result, target, keys)
        return effects
    write_volume(result, read.grid, target, keys)
    return effects


def _values(array: np.ndarray) -> np.ndarray:
    """Label values (Z, Y, X) in the smallest unsigned type."""
    low, high = array.min(initial=0), array.max(initial=0)
    if low < 0 or high > 65535 or (array.dtype.kind == "f" and not np.array_equal(array, np.floor(array))):
        raise InputError("its values are not whole numbers from 0 to 65535; is it a label map?")
    values: np.ndarray = array.astype(np.uint8 if high <= 255 else np.uint16)
    return values
