"""Kinds of models. A new kind is one file in `itk_infer.model.kinds` and one entry here.

Nothing heavy is imported, so that the command line can list the kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from itk_infer.model.backend import Backend, BackendOptions
    from itk_infer.model.spec_sources import SpecSources


@dataclass(frozen=True, slots=True)
class FileFlag:
    """A flag of the command line that names one file of a model.

    Attributes:
        names: As click takes them; messages use the first.
        value: What stands after it in messages.
        help: Its sentence in ``--help``.
    """

    names: tuple[str, ...]
    value: str
    help: str

    @property
    def parameter(self) -> str:
        """Click's name of the value."""
        return self.names[-1].lstrip("-").replace("-", "_")

    def __str__(self) -> str:
        return f"{self.names[0]} {self.value}"


@dataclass(frozen=True, slots=True)
class ModelKind:
    """One kind of model.

    Attributes:
        name: As `kind=` and ``--backend`` take it.
        sentence: What its file or folder is, for messages.
        recognises: ``module:function`` of ``(path) -> bool``: whether this file or folder is a whole model of the
            kind. Runs nothing that is in it, and raises nothing.
        load: ``module:function`` of ``(paths, spec_sources, options) -> Backend``. The paths are one that
            `recognises` accepts, or the files of `flags` in their order.
        extra: What to install: ``pip install 'itk_infer[extra]'``.
        flags: Flags of its own, one for each file; none for a kind that only ``--model`` names.
        options: Options that only this kind takes, each with what other kinds do not have.
    """

    name: str
    sentence: str
    recognises: str
    load: str
    extra: str
    flags: tuple[FileFlag, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


KINDS = "itk_infer.model.kinds"
MODEL_KINDS = (
    ModelKind(
        "onnx",
        "an ONNX file",
        recognises=f"{KINDS}.onnx_graph:is_onnx",
        load=f"{KINDS}.onnx:load",
        extra="onnx",
        flags=(FileFlag(("--onnx",), "MODEL.onnx", "ONNX model file."),),
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
        recognises=f"{KINDS}.nnunet.folder:is_nnunet",
        load=f"{KINDS}.nnunet.kind:load",
        extra="nnunet",
        options=(
            ("folds", "folds"),
            ("checkpoint", "checkpoints to choose from"),
            ("previous_stage", "previous stage"),
            ("nnunet_postprocessing", "postprocessing.json"),
        ),
    ),
)


def kind_named(name: str) -> ModelKind:
    """The kind of that name.

    Raises:
        ConfigError: there is none.
    """
    for kind in MODEL_KINDS:
        if kind.name == name:
            return kind
    raise ConfigError(f"kind {name!r}: give {' or '.join(kind.name for kind in MODEL_KINDS)}")


def kind_of(path: Path) -> ModelKind:
    """The kind of a model, told from its file or folder. Nothing in it is run.

    Raises:
        ModelError: the path is missing, or is a model of no kind.
        ConfigError: it can be of several kinds.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; a model is {_all_sentences()}")
    matches = [kind for kind in MODEL_KINDS if _function(kind.recognises)(path)]
    if not matches:
        raise ModelError(f"{path}: not recognised as a model; a model is {_all_sentences()}")
    if len(matches) > 1:
        names = " or ".join(kind.name for kind in matches)
        raise ConfigError(f"{path}: can be loaded as {names}; choose one of these with kind (--backend)")
    return matches[0]


def load_backend(
    kind: ModelKind | str | None, paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions
) -> Backend:
    """Load a model.

    Args:
        kind: Its kind or the name of it; None: told from the path, see `kind_of`.
        paths: Its file or folder, or the files that the kind's flags name; for an ensemble, those of its models.
        spec_sources: What speaks about the model besides its own files.
        options: Where and how to run it.

    Raises:
        ModelError: it cannot be loaded, or a package that it needs is not installed.
        ConfigError: the options do not fit it.
    """
    if isinstance(kind, str):
        kind = kind_named(kind)
    if len(paths) > 1 and (kind is None or len(paths) != len(kind.flags)):
        from itk_infer.model.ensemble import Ensemble

        members = [load_backend(kind, [path], spec_sources, options) for path in paths]
        return Ensemble(members, [path.name for path in paths])
    if kind is None:
        kind = kind_of(paths[0])
    _refuse_options_of_others(kind, options)
    try:
        backend: Backend = _function(kind.load)(tuple(paths), spec_sources, options)
    except ImportError as error:
        raise ModelError(
            f"{kind.name} models need a package that cannot be imported ({error}): "
            f"pip install 'itk_infer[{kind.extra}]'"
        ) from error
    return backend


def _refuse_options_of_others(kind: ModelKind, options: BackendOptions) -> None:
    for other in MODEL_KINDS:
        for name, has in other.options:
            if name not in dict(kind.options) and getattr(options, name) is not None:
                raise ConfigError(
                    f"`{name}` is for {other.name} models; this {kind.name} model has no {has}, so leave it out"
                )


def _function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _all_sentences() -> str:
    return ", or ".join(f"{kind.sentence} ({kind.name})" for kind in MODEL_KINDS)
