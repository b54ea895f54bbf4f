"""Tests on the first pictures of an archive, before anything is recorded: precision and batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from itk_infer.classifier import Classifier
from itk_infer.classify.find import folders_of
from itk_infer.errors import InputError
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture, Pictures

CHECKED = 8  # pictures on which reduced precision is compared with fp32


def settle_precision(
    classifier: Classifier,
    source: Path,
    check: Callable[[], None],
    open_file: Callable[[Path], Pictures] = open_pictures,
) -> str:
    """Compare reduced precision with fp32 on the first pictures.

    Args:
        classifier: The model; its precision may change.
        source: Folder of pictures, or one file.
        check: Called between folders; raises to stop the run.
        open_file: As `open_pictures`; opens each file.

    Returns:
        A sentence about the result; empty if there was nothing to compare.
    """
    if all(network.precision == "fp32" for network in classifier.model.networks):
        return ""
    return classifier.settle_precision(first_inputs(classifier, source, check, CHECKED, open_file))


def first_inputs(
    classifier: Classifier,
    source: Path,
    check: Callable[[], None],
    count: int,
    open_file: Callable[[Path], Pictures] = open_pictures,
) -> list[list[Any]]:
    """Network inputs of at most `count` readable pictures, the first ones, all of one size."""
    inputs: list[list[Any]] = []
    for path in _files(source, check):
        try:
            pictures = open_file(path)
            pictures.check(classifier.spec.select)
            made = classifier.inputs([classifier.planes(pictures.picture(0))], 0)
        except (InputError, NotAPicture):
            continue
        if not inputs or [part.shape for part in made] == [part.shape for part in inputs[0]]:
            inputs.append(made)
        if len(inputs) == count:
            break
    return inputs


def _files(source: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Yield files below a folder until the caller stops."""
    root = source if source.is_dir() else source.parent
    for folder, files in folders_of(source, frozenset()):
        check()
        yield from (root / folder / file.name for file in files)
