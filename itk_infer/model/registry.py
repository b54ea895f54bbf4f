"""Kinds of models. A new kind is one file in `itk_infer.model.kinds` and one entry here.

Nothing heavy is imported, so that the command line can list the kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from itk_infer.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from itk_infer.model.backend import Backend, BackendOptions
    from itk_infer.model.spec_sources import SpecSources
    from itk_infer.options import Options


@dataclass(frozen=True, slots=True)
class FileFlag:
    """A flag of the command line for one file of a model.

    Attributes:
        names: Names of the flag, as for click; messages use the first.
        value: Placeholder of its value in messages.
        help: Its sentence in ``--help``.
    """

    names: tuple[str, ...]
    value: str
    help: str

    @property
    def parameter(self) -> str:
        """Click's parameter name."""
        return self.names[-1].lstrip("-").replace("-", "_")

    def __str__(self) -> str:
        return f"{self.names[0]} {self.value}"


@dataclass(frozen=True, slots=True)
class ModelKind:
    """One kind of model.

    Attributes:
        name: Its name for `kind=` and ``--backend``.
        sentence: What its file or folder is, for messages.
        recognises: ``module:function`` of ``(path) -> bool``: whether this file or folder is a whole model of the
            kind. Must not run anything in it, and must not raise.
        load: ``module:function`` of ``(paths, spec_sources, options) -> Backend``. The paths are a single one that
            `recognises` accepts, or the files of `flags` in their order.
        extra: The extra to install: ``pip install 'itk_infer[extra]'``.
        flags: Flags of its own, one per file; empty for a kind that is given by ``--model`` only.
        options: Options for this kind only, each with a phrase for what other kinds lack.
        describe: ``module:function`` of ``(path, spec_sources) -> dict``: what ``inspect`` shows without loading
            the model, see `itk_infer.model.kinds.monai_bundle.kind.describe`; empty: the model is loaded.
        classify: ``module:function`` of ``(paths, spec_sources, options, threads, calls) -> PictureNetwork``:
            loads a model that classifies pictures, see `itk_infer.model.load_classifier`; empty: not supported.
    """

    name: str
    sentence: str
    recognises: str
    load: str
    extra: str
    flags: tuple[FileFlag, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    describe: str = ""
    classify: str = ""


KINDS = "itk_infer.model.kinds"
MODEL_KINDS = (
    ModelKind(
        "onnx",
        "an ONNX file",
        recognises=f"{KINDS}.onnx_location:is_onnx",
        load=f"{KINDS}.onnx:load",
        extra="onnx",
        flags=(FileFlag(("--onnx",), "MODEL.onnx", "ONNX model file."),),
        classify=f"{KINDS}.onnx_pictures:load",
    ),
    ModelKind(
        "mmengine",
        "a folder with an MMEngine config (.py, .json, .yaml) and its checkpoint (.pth, .pt, .safetensors)",
        recognises=f"{KINDS}.mmengine_folder:is_mmengine",
        load=f"{KINDS}.mmengine:load",
        extra="mmengine",
        flags=(
            FileFlag(("-cfg", "--cfg-path"), "CONFIG", "MMEngine config. It is code, and it runs."),
            FileFlag(("-ckpt", "--ckpt-path"), "CHECKPOINT", "MMEngine checkpoint."),
        ),
    ),
    ModelKind(
        "nnunet",
        "a model folder of nnU-Net v2 (plans.json, dataset.json, fold_0), or a zip of one",
        recognises=f"{KINDS}.nnunet.location:is_nnunet",
        load=f"{KINDS}.nnunet.kind:load",
        extra="nnunet",
        options=(
            ("folds", "folds"),
            ("checkpoint", "checkpoints to choose from"),
            ("previous_stage", "previous stage"),
            ("nnunet_postprocessing", "postprocessing.json"),
        ),
    ),
    ModelKind(
        "recipe",
        "a recipe (.json with the key recipe): several models whose label maps are merged",
        recognises=f"{KINDS}.recipe:is_recipe",
        load=f"{KINDS}.recipe:load",
        extra="onnx",
    ),
    ModelKind(
        "ensemble",
        "an ensemble file (.json) that names other models",
        recognises=f"{KINDS}.ensemble_file:is_ensemble",
        load=f"{KINDS}.ensemble:load",
        extra="onnx",
        options=(("weights", "members"),),
    ),
    ModelKind(
        "monai_bundle",
        "a bundle of MONAI (a folder with configs and models), or a zip of one",
        recognises=f"{KINDS}.monai_bundle.location:is_bundle",
        load=f"{KINDS}.monai_bundle.kind:load",
        extra="monai",
        describe=f"{KINDS}.monai_bundle.kind:describe",
    ),
    ModelKind(
        "torch_file",
        "a TorchScript file (.ts, .pt) or a torch.export archive (.pt2)",
        recognises=f"{KINDS}.torch_location:is_torch_file",
        load=f"{KINDS}.torch_file:load",
        extra="torch",
        classify=f"{KINDS}.torch_pictures:load",
    ),
)


def kind_named(name: str) -> ModelKind:
    """Return the kind of this name.

    Raises:
        ConfigError: there is none.
    """
    for kind in MODEL_KINDS:
        if kind.name == name:
            return kind
    raise ConfigError(f"kind {name!r}: give {' or '.join(kind.name for kind in MODEL_KINDS)}")


def kind_of(path: Path) -> ModelKind:
    """Recognise the kind of a model from its file or folder. Nothing in it is run.

    Raises:
        ModelError: the path does not exist, or is not a model of any kind.
        ConfigError: several kinds recognise it.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; a model is {_all_sentences()}")
    from itk_infer.files.zip_archive import reason_to_refuse

    damaged = reason_to_refuse(path)
    if damaged is not None:
        raise ModelError(f"{path}: cannot be read ({damaged}); copy or download it again")
    matches = [kind for kind in MODEL_KINDS if function_named(kind.recognises)(path)]
    if not matches:
        raise ModelError(f"{path}: not recognised as a model; a model is {_all_sentences()}")
    if len(matches) > 1:
        names = " or ".join(kind.name for kind in matches)
        raise ConfigError(f"{path}: can be loaded as {names}; choose one of these with `kind`")
    return matches[0]


def load_backend(
    kind: ModelKind | str | None, paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions
) -> Backend:
    """Load a model.

    Args:
        kind: Its kind or the kind's name; None: recognised from the path, see `kind_of`.
        paths: Its file or folder, or the files for the kind's flags; for an ensemble, those of its models.
        spec_sources: Sources of the spec besides the model's own files.
        options: Where and how to run it.

    Raises:
        ModelError: the model cannot be loaded, or a package that it needs is not installed.
        ConfigError: the options do not fit the model.
    """
    if isinstance(kind, str):
        kind = kind_named(kind)
    if len(paths) > 1 and (kind is None or len(paths) != len(kind.flags)):
        from itk_infer.model.ensemble import Ensemble

        members = [load_backend(kind, [path], spec_sources, member_options(options)) for path in paths]
        return Ensemble(members, [path.name for path in paths], options.weights)
    if kind is None:
        kind = kind_of(paths[0])
    _refuse_options_of_others(kind, options)
    try:
        backend: Backend = function_named(kind.load)(tuple(paths), spec_sources, options)
    except ImportError as error:
        raise ModelError(
            f"{kind.name} models need a package that cannot be imported ({error}): "
            f"pip install 'itk_infer[{kind.extra}]'"
        ) from error
    return backend


def member_options(options: BackendOptions) -> BackendOptions:
    """Return an ensemble's options for its members: without `weights`."""
    return options if options.weights is None else replace(cast("Options", options), weights=None)


def description(
    kind: ModelKind | str | None, paths: Sequence[Path], spec_sources: SpecSources
) -> dict[str, Any] | None:
    """Describe a model without loading it; None if its kind cannot be described so, or for several models.

    Raises:
        ModelError: it cannot be read, or something in it is not supported.
    """
    if len(paths) != 1:
        return None
    kind = kind_of(paths[0]) if kind is None else kind_named(kind) if isinstance(kind, str) else kind
    if not kind.describe:
        return None
    about: dict[str, Any] = function_named(kind.describe)(paths[0], spec_sources)
    return about


def _refuse_options_of_others(kind: ModelKind, options: BackendOptions) -> None:
    for other in MODEL_KINDS:
        for name, has in other.options:
            if name not in dict(kind.options) and getattr(options, name) is not None:
                raise ConfigError(
                    f"`{name}` is for {other.name} models; this {kind.name} model has no {has}, so leave it out"
                )


def function_named(name: str) -> Any:
    """Import and return a function by its name ``module:function``."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _all_sentences() -> str:
    return ", or ".join(f"{kind.sentence} ({kind.name})" for kind in MODEL_KINDS)
