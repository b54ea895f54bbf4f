"""The sources of a model spec, merged by precedence.

Precedence: options > the spec file given by them > sidecar > embedded > older keys > defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError, SpecError
from itk_infer.model.rules_file import read_rules, refuse_functions
from itk_infer.model.spec_json import read_json
from itk_infer.options import Options
from itk_infer.spec import ModelSpec, merge, parse_spec
from itk_infer.spec.intensity import OPS, WindowLevel


@dataclass(frozen=True, slots=True)
class Document:
    """One source in the form of a version-1 spec, which may be partial.

    Attributes:
        name: Name in messages: a path, ``metadata of model.onnx``, ...
        content: The mapping.
        older: Whether it was made from keys that are older than the spec format and cover a part of it only.
    """

    name: str
    content: Mapping[str, Any]
    older: bool = False


@dataclass(frozen=True, slots=True)
class SpecSources:
    """The sources of a model spec other than the model's own files and their sidecars.

    Attributes:
        overrides: Options of the user: a spec file, and settings that replace the model's own.
        above: Documents with precedence over sidecars, but not over the user's spec file.
    """

    overrides: Options = Options()
    above: tuple[Document, ...] = ()

    def beside(self, *models: Path) -> list[Document]:
        """Read the sidecars of `models` and the user's spec, lowest precedence first."""
        sidecars = dict.fromkeys(model.with_name(f"{model.stem}.spec.json") for model in models)
        own = [Document(str(path), read_json(path)) for path in sidecars if path.is_file()]
        users = [Document(str(path), read_json(path)) for path in filter(None, [self.overrides.spec])]
        return [*own, *self.above, *users]


def older_window(level: Any, width: Any, source: str) -> Document | None:
    """Make a document of the older keys for window level and width; None if both are absent.

    Raises:
        SpecError: one is missing, or one is not a number.
    """
    if level is None and width is None:
        return None
    if level is None or width is None:
        raise SpecError(f"{source}: holds only one of window level and width; both are needed")
    try:
        step = {"op": "window", "level": float(level), "width": float(width)}
    except (TypeError, ValueError):
        raise SpecError(f"{source}: window level {level!r} and width {width!r} must be numbers") from None
    return Document(source, {"input": {"intensity": [step]}}, older=True)


def resolve(documents: Sequence[Document], overrides: Options) -> tuple[ModelSpec, list[str]]:
    """Merge all sources into one spec.

    Args:
        documents: Sources, lowest precedence first.
        overrides: Options that replace a part of the spec, with precedence over all documents.

    Returns:
        The spec, and notes for the user about unexpected effects of the overrides.

    Raises:
        SpecError: a source is invalid, or sources contradict each other.
        ConfigError: the model needs a window level and width, and none were given.
    """
    spec = _parse(documents)
    notes: list[str] = []
    level, width = overrides.window_level, overrides.window_width
    if level is not None or width is not None:
        spec = _with_window(spec, level, width, notes)
    elif all(document.older for document in documents) and not spec.input.intensity:
        raise ConfigError(
            "this model has no intensity settings and requires `window_level`/`window_width`: give both, "
            "or write them into the model (metadata window_level and window_width, or wl and ww in a config), "
            "or describe the model in a spec file (`spec`)"
        )
    window = spec.window
    if overrides.patch_size is not None:
        # The model's stride was chosen for its own patch; with this one it might not cover the volume.
        window = replace(window, patch_size=overrides.patch_size, patch_stride=None)
    if overrides.patch_stride is not None and overrides.step_size is not None:
        raise ConfigError("`patch_stride` and `step_size` exclude each other: give one of them")
    if overrides.step_size is not None:
        window = replace(window, step=overrides.step_size, patch_stride=None)
    if overrides.patch_stride is not None:
        window = replace(window, patch_stride=overrides.patch_stride)
    if overrides.blend is not None:
        window = replace(window, blend=overrides.blend)
    if overrides.postprocess is not None:
        spec = replace(spec, output=replace(spec.output, postprocessing=read_rules(overrides.postprocess)))
    return replace(spec, window=window), notes


def _parse(documents: Sequence[Document]) -> ModelSpec:
    for document in documents:
        if not isinstance(document.content, Mapping):
            raise SpecError(f"{document.name}: a model spec must be a JSON object")
        refuse_functions(document.content, document.name)
    try:
        return parse_spec(merge(*(document.content for document in documents)), "the model spec")
    except SpecError:
        for document in documents:
            parse_spec(document.content, document.name)  # the message then names the invalid document
        raise


def _with_window(spec: ModelSpec, level: float | None, width: float | None, notes: list[str]) -> ModelSpec:
    if width is not None and width <= 0:
        raise ConfigError(f"`window_width={width:g}`: a window width must be above 0")
    steps = spec.input.intensity
    if any(isinstance(step, WindowLevel) for step in steps):
        steps = tuple(
            replace(
                step,
                level=step.level if level is None else level,
                width=step.width if width is None else width,
            )
            if isinstance(step, WindowLevel)
            else step
            for step in steps
        )
    elif level is None or width is None:
        raise ConfigError(
            "`window_level` and `window_width` belong together: this model has no window of its own "
            "to complete them"
        )
    else:
        names = {step: op for op, step in OPS.items()}
        dropped = ", ".join(names[type(step)] for step in steps)
        notes.append(
            f"`window_level`/`window_width`: the model has no window step of its own; the window "
            f"{level:g}/{width:g} is now the only intensity step"
            + (f" and replaces: {dropped}" if dropped else "")
        )
        steps = (WindowLevel(level, width),)
    return replace(spec, input=replace(spec.input, intensity=steps))
