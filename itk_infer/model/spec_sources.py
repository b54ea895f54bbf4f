"""Where a model spec comes from, and which source wins.

Command line > ``--spec`` > sidecar > embedded > older keys > defaults.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError, SpecError
from itk_infer.spec import ModelSpec, merge, parse_spec
from itk_infer.spec.intensity import OPS, WindowLevel
from itk_infer.spec.model_spec import Blend, Triplet

MAX_SPEC_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Document:
    """One source, in the form of a version-1 spec, perhaps partial.

    Attributes:
        name: What messages call it: a path, ``metadata of model.onnx``, ...
        content: The mapping.
        older: Made from keys that existed before the spec; says only what those keys said.
    """

    name: str
    content: Mapping[str, Any]
    older: bool = False


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says about the model. None: nothing."""

    window_level: float | None = None
    window_width: float | None = None
    patch_size: Triplet | None = None
    patch_stride: Triplet | None = None
    blend: Blend | None = None


@dataclass(frozen=True, slots=True)
class SpecSources:
    """Everything that speaks about a model besides the model's own files.

    Attributes:
        spec_path: A spec file the user named.
        overrides: The command line.
    """

    spec_path: Path | None = None
    overrides: Overrides = field(default_factory=Overrides)

    def beside(self, *models: Path) -> list[Document]:
        """The sidecars of `models` and the user's spec, lowest precedence first."""
        sidecars = dict.fromkeys(model.with_name(f"{model.stem}.spec.json") for model in models)
        paths = [path for path in sidecars if path.is_file()]
        return [Document(str(path), read_json(path)) for path in [*paths, *filter(None, [self.spec_path])]]


def read_json(path: Path) -> Any:
    """The content of a spec file.

    Raises:
        SpecError: it cannot be read, is absurdly large, or is no JSON.
    """
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError(f"{path}: larger than 1 MiB; this is no model spec")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: is not valid JSON ({error})") from None


def older_window(level: Any, width: Any, source: str) -> Document | None:
    """The older pair of window keys as a document; None where both are absent.

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


def resolve(documents: Sequence[Document], overrides: Overrides) -> tuple[ModelSpec, list[str]]:
    """One spec out of all sources.

    Args:
        documents: Lowest precedence first.
        overrides: The command line, above them all.

    Returns:
        The spec, and notes about what the overrides changed that the user might not expect.

    Raises:
        SpecError: a source is invalid, or they contradict each other.
        ConfigError: the model needs a window level and width, and nobody gave them.
    """
    spec = _parse(documents)
    notes: list[str] = []
    level, width = overrides.window_level, overrides.window_width
    if level is not None or width is not None:
        spec = _with_window(spec, level, width, notes)
    elif all(document.older for document in documents) and not spec.input.intensity:
        raise ConfigError(
            "this model says nothing about intensities and requires --wl/--ww: give a window level and width "
            "on the command line, or write them into the model (metadata window_level and window_width, or "
            "wl and ww in a config), or describe the model in a spec file (--spec)"
        )
    window = spec.window
    if overrides.patch_size is not None:
        # The old stride was chosen for the old patch; it may not even cover the volume with this one.
        window = replace(window, patch_size=overrides.patch_size, patch_stride=None)
    if overrides.patch_stride is not None:
        window = replace(window, patch_stride=overrides.patch_stride)
    if overrides.blend is not None:
        window = replace(window, blend=overrides.blend)
    return replace(spec, window=window), notes


def _parse(documents: Sequence[Document]) -> ModelSpec:
    for document in documents:
        if not isinstance(document.content, Mapping):
            raise SpecError(f"{document.name}: a model spec must be a JSON object")
    try:
        return parse_spec(merge(*(document.content for document in documents)), "the model spec")
    except SpecError:
        for document in documents:
            parse_spec(document.content, document.name)  # names the one at fault
        raise


def _with_window(spec: ModelSpec, level: float | None, width: float | None, notes: list[str]) -> ModelSpec:
    for name, value in (("--wl", level), ("--ww", width)):
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{name} {value}: give a number")
    if width is not None and width <= 0:
        raise ConfigError(f"--ww {width:g}: a window width must be above 0")
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
        raise ConfigError("--wl and --ww belong together: this model has no window of its own to complete them")
    else:
        names = {step: op for op, step in OPS.items()}
        dropped = ", ".join(names[type(step)] for step in steps)
        notes.append(
            f"--wl/--ww: the model has no window step of its own; the window {level:g}/{width:g} is now the only "
            "intensity step" + (f" and replaces: {dropped}" if dropped else "")
        )
        steps = (WindowLevel(level, width),)
    return replace(spec, input=replace(spec.input, intensity=steps))
