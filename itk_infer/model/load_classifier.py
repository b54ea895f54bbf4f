"""Load models that classify pictures: one, several, or those of an ensemble file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.classifier import Group, PictureClassifier, PictureNetwork, group_of
from itk_infer.model.classify_sources import SIDECARS
from itk_infer.model.kinds.ensemble_file import Group as FileGroup
from itk_infer.model.kinds.ensemble_file import is_ensemble, read_ensemble
from itk_infer.model.registry import MODEL_KINDS, function_named, kind_named, kind_of
from itk_infer.model.spec_json import read_json
from itk_infer.model.spec_sources import SpecSources
from itk_infer.spec.classify_parse import is_classification


def load_classifier(
    paths: Sequence[Path],
    spec_sources: SpecSources,
    options: BackendOptions,
    *,
    kind: str | None = None,
    threads: int = 1,
    calls: int = 1,
) -> PictureClassifier:
    """Load a model that classifies pictures.

    Args:
        paths: Its file, or an ensemble file; several files are averaged.
        spec_sources: Sources of the spec besides the model's own files.
        options: Where and how to run it; `weights` are for several models.
        kind: Name of its kind; None: recognised from the path.
        threads: Threads of the CPU for all calls together.
        calls: Number of calls that run at the same time.

    Raises:
        ModelError: one of the networks cannot be loaded.
        ConfigError: the networks cannot be averaged, or the options do not fit.
    """
    load = _Loader(spec_sources, options, threads, calls)
    models = [load.model(path, kind) for path in paths]
    if len(models) > 1:
        return PictureClassifier(group_of(models, options.weights))
    if options.weights is not None and not isinstance(models[0], Group):
        raise ConfigError("`weights` is for several models; give more than one model, or an ensemble file")
    return PictureClassifier(models[0])


def says_it_classifies(paths: Sequence[Path], spec: Path | None) -> bool:
    """Whether the spec beside a model, or the user's, has the task ``classify``; no model is loaded.

    Args:
        paths: Files of models, or of ensembles.
        spec: The user's spec file.

    Raises:
        SpecError: a file is not JSON, or an ensemble file is invalid.
    """
    if spec is not None and is_classification(read_json(spec)):
        return True
    path = paths[0]
    if is_ensemble(path):
        return says_it_classifies([_first_model(read_ensemble(path))], None)
    beside = [path.with_name(f"{path.stem}{ending}") for ending in SIDECARS]
    return any(is_classification(read_json(file)) for file in beside if file.is_file())


def _first_model(group: FileGroup) -> Path:
    content = group.members[0].content
    return _first_model(content) if isinstance(content, FileGroup) else content


class _Loader:
    def __init__(self, spec_sources: SpecSources, options: BackendOptions, threads: int, calls: int) -> None:
        self._sources, self._options, self._threads, self._calls = spec_sources, options, threads, calls

    def model(self, path: Path, kind: str | None) -> PictureNetwork | Group:
        if kind in (None, "ensemble") and is_ensemble(path):
            try:
                return self._group(read_ensemble(path), top=True)
            except ConfigError as error:
                text = str(error)
                raise type(error)(text if text.startswith(str(path)) else f"{path}: {text}") from None
        found = kind_of(path) if kind is None else kind_named(kind)
        if not found.classify:
            able = " or ".join(one.name for one in MODEL_KINDS if one.classify)
            raise ModelError(f"{path}: is {found.sentence}; pictures are classified by models of the kind {able}")
        try:
            network: PictureNetwork = function_named(found.classify)(
                (path,), self._sources, self._options, self._threads, self._calls
            )
        except ImportError as error:
            raise ModelError(
                f"{found.name} models need a package that cannot be imported ({error}): "
                f"pip install 'itk_infer[{found.extra}]'"
            ) from error
        return network

    def _group(self, group: FileGroup, *, top: bool = False) -> Group:
        members = [
            self._group(member.content)
            if isinstance(member.content, FileGroup)
            else self.model(member.content, member.kind)
            for member in group.members
        ]
        weights = self._options.weights if top and self._options.weights is not None else group.weights
        return group_of(members, weights, group.mean, group.name)
