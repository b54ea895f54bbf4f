"""Models to ONNX files: what `itk_infer export` does.

Several folds of an nnU-Net model become one file each, and an ensemble file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from itk_infer.errors import ConfigError, ModelError
from itk_infer.files.commit import write_bytes
from itk_infer.model.backend import Backend
from itk_infer.model.export.exporter import NO_ENSEMBLE, Exported, Verify, export_onnx
from itk_infer.model.export.parity import Bound
from itk_infer.model.kinds.ensemble_file import ensemble_document
from itk_infer.model.registry import kind_named, kind_of, load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.predictor import Predictor

TIES = 5  # voxels whose labels may differ however few have one
SHARE_OF_LABELS = 0.01


def export_model(
    paths: Sequence[Path],
    kind: str | None,
    options: Options,
    output: Path,
    *,
    free_size: bool = False,
    merge_folds: bool = False,
    images: Sequence[Path] = (),
    overwrite: bool = False,
) -> Iterator[Exported]:
    """Export a model; yields once for each file, the ensemble file of several folds last.

    Args:
        paths: As of `load_backend`, of one model.
        kind: As of `load_backend`.
        options: Those about the model and its spec; `precision` of ``half`` or ``fp16`` stores the weights so.
        output: The ``.onnx`` file; of several folds, names are made from it.
        free_size: Leave the window size free.
        merge_folds: Make one network of several folds, which averages their logits.
        images: Images whose masks are compared, too.
        overwrite: Replace files that are there.

    Raises:
        ConfigError: options, model or output do not fit each other, or a file is there.
        ModelError: the model cannot be loaded or exported, or the file answers differently.
        CaseError: an image of `images` cannot be read, or a file not be written.
    """
    if options.precision not in ("auto", "fp32", "half", "fp16"):
        raise ConfigError(f"`precision={options.precision}`: weights are stored in fp32 or fp16")
    half = options.precision in ("half", "fp16")
    options = options.changed(device="cpu", provider="cpu", precision="fp32")
    if kind is None and len(paths) == 1:
        kind = kind_of(paths[0]).name
    if kind == "onnx":
        options = options.changed(precision="auto")  # one that is stored in half precision stays so
    if kind is None or (len(paths) > 1 and len(paths) != len(kind_named(kind).flags)):
        raise ConfigError(NO_ENSEMBLE)
    folds = _folds(paths[0], options) if kind == "nnunet" else ()
    split = len(folds) > 1 and not merge_folds
    if merge_folds and len(folds) < 2:
        raise ConfigError("`merge_folds`: this model does not have several folds; leave it out")
    if output.suffix.lower() != ".onnx":
        raise ConfigError(f"`output={output}`: must end in .onnx")
    files = [output.with_name(f"{output.stem}_fold_{fold}.onnx") for fold in folds] if split else [output]
    ensemble = output.with_suffix(".json")
    if not overwrite:
        for file in (*files, *([ensemble] if split else [])):
            if file.exists():
                raise ConfigError(f"{file}: is there already; `overwrite` replaces it")
    sources = SpecSources(options)
    name = ""
    for file, fold in zip(files, folds if split else [None], strict=True):
        own = options if fold is None else options.changed(folds=(fold,))
        backend = load_backend(kind, paths, sources, own)
        name = backend.spec.name
        checks = [_check(backend, image) for image in images]
        named = [path.name for path in paths]
        yield export_onnx(backend, file, free_size=free_size, half=half, verify=checks, sources=named)
    if split:
        document = ensemble_document([file.name for file in files], "logits", name)
        write_bytes(f"{json.dumps(document, indent=2)}\n".encode(), ensemble)
        yield Exported((ensemble,), (), (f"as a model, {ensemble} averages the folds' logits",))


def _folds(path: Path, options: Options) -> tuple[str, ...]:
    from itk_infer.model.kinds.nnunet.folder import open_folder

    return tuple(fold.name for fold in open_folder(path.absolute(), options.folds, options.checkpoint).folds)


def _channels(image: Path, count: int) -> list[Path]:
    """The files of an image's channels, told from that of the first.

    Raises:
        ConfigError: its name does not end in 0000.
    """
    if count == 1:
        return [image]
    head, mark, tail = image.name.rpartition("_0000")
    if not mark:
        raise ConfigError(
            f"`verify={image.name}`: this model takes {count} channels; give the file of the first one, such as "
            "case_0000.nii.gz"
        )
    return [image.with_name(f"{head}_{number:04d}{tail}") for number in range(count)]


def _check(backend: Backend, image: Path) -> Verify:
    """Compares the masks of an image that the model and a file of it make.

    Raises:
        ModelError: they differ.
    """

    def check(file: Path, bound: Bound) -> str:
        import SimpleITK as sitk

        files = _channels(image, len(backend.spec.input.channels))
        predictors = Predictor(backend), Predictor.load(file, kind="onnx", device="cpu")
        one, other = (sitk.GetArrayFromImage(each(files).labels) for each in predictors)
        agreement = float(np.mean(one == other))
        foreground = int(np.count_nonzero(one))
        differing = int(np.count_nonzero(one != other))
        sentence = f"{image.name}: {differing} of {one.size:,} voxels differ, {foreground:,} have a label"
        # Of the whole image, and of what has a label: a lost lesion is a small share of an image.
        if agreement < bound.agreement or differing > max(TIES, SHARE_OF_LABELS * foreground):
            raise ModelError(
                f"masks of the exported file differ from the model's ({sentence}); nothing was written"
            )
        return sentence

    return check
