"""Loading of a run's model, and the description of the loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from itk_infer._version import __version__
from itk_infer.errors import ModelError
from itk_infer.machine import ran_out, shortage
from itk_infer.options import Options
from itk_infer.spec import InputSpec, ModelSpec, parse_spec
from itk_infer.spec.labels import distinct

if TYPE_CHECKING:
    from itk_infer.predictor import Predictor


class ModelLoader(Protocol):
    """Loads a model. Sent to worker processes and other machines, so it must be picklable and hashable."""

    def load(self, *, device: str | None = None, threads: int | None = None) -> Predictor:
        """Load the model.

        Args:
            device: Overrides the option `device`; None: the option holds.
            threads: CPU threads of the network; None: all cores.

        Raises:
            ItkInferError: it cannot be loaded, or the options do not fit it.
        """
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model given by its files, and how to load and run it.

    Attributes:
        paths: Its file or folder, or the files that its kind's options name.
        kind: A name in `MODEL_KINDS`; None: recognised from the path where the model is loaded.
        options: Options of the run.
    """

    paths: tuple[Path, ...]
    kind: str | None = None
    options: Options = Options()

    def absolute(self) -> ModelRequest:
        """The same request with absolute paths, for processes with another current folder."""
        return ModelRequest(tuple(path.absolute() for path in self.paths), self.kind, self.options.absolute())

    def load(self, *, device: str | None = None, threads: int | None = None) -> Predictor:
        """See `ModelLoader.load`."""
        from itk_infer.predictor import Predictor

        options = self.options
        if device is not None:
            options = replace(options, device=device)
        if threads is not None:
            options = replace(options, threads=threads)
        try:
            return Predictor.load(self.paths, options, kind=self.kind)
        except Exception as error:
            if not ran_out(error):
                raise
            # A lack of memory may be reported as a missing library.
            raise ModelError(f"the model cannot be loaded: {shortage('it and its libraries')}") from error


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The description of a loaded model.

    Attributes:
        about: Result of `describe`, JSON-ready.
        identity: `Predictor.identity`.
    """

    about: dict[str, Any]
    identity: dict[str, Any]

    @property
    def name(self) -> str:
        """The model's name, or ``unnamed model``."""
        return self.about["spec"]["name"] or "unnamed model"

    @property
    def input(self) -> InputSpec:
        """The input block of the model's spec."""
        return parse_spec(self.about["spec"], "the loaded model").input

    @property
    def device(self) -> str:
        """The device it runs on."""
        return str(self.about["device"])

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user, such as the chosen device."""
        return tuple(self.about["notes"])


def model_info(predictor: Predictor) -> ModelInfo:
    """The `ModelInfo` of a loaded model."""
    return ModelInfo(describe(predictor), predictor.identity)


def described(request: ModelRequest) -> dict[str, Any] | None:
    """As `describe`, for a model whose files hold the complete spec, without loading it; None for any other.

    Raises:
        ModelError: a model file is not understood.
    """
    from itk_infer.model.registry import description
    from itk_infer.model.spec_sources import SpecSources

    found = description(request.kind, request.paths, SpecSources(request.options))
    if found is None:
        return None
    spec, channels = found.pop("spec"), found.pop("channels_out")
    window = spec.window
    return {
        "itk_infer": __version__,
        "device": "not loaded",
        "provider": None,
        "precision": None,
        "spec": spec.to_dict(),
        "network": {
            "channels_in": found.pop("channels_in"),
            "channels_out": channels,
            "size": None,
            "batch": None,
        },
        "window": {
            key: getattr(window, key) and list(getattr(window, key)) for key in ("patch_size", "patch_stride")
        },
        "labels": _labels(spec, channels),
        **found,
    }


def _listed(values: Sequence[int] | None) -> list[int | None]:
    return [None, None, None] if values is None else list(values)


def _labels(spec: ModelSpec, channels_out: int | None) -> list[dict[str, Any]]:
    labels = spec.output.label_table(channels_out) if channels_out else ()
    return [
        {
            "value": label.value,
            "name": label.name,
            "color": label.color,
            "channel": label.channel,
            **({"also": list(label.also)} if label.also else {}),
        }
        for label in labels or distinct(spec.output.labels or ())
    ]


def describe(predictor: Predictor) -> dict[str, Any]:
    """The description of a loaded model, JSON-ready."""
    shape = predictor.backend.shape
    return {
        "itk_infer": __version__,
        "sha256": predictor.backend.digest,
        "device": predictor.backend.device,
        "provider": predictor.backend.provider,
        "precision": predictor.backend.precision,
        "spec": predictor.spec.to_dict(),
        "network": {
            "channels_in": shape.channels_in,
            "channels_out": shape.channels_out,
            "size": list(shape.size),
            "batch": shape.batch,
        },
        "window": {"patch_size": list(predictor.window.patch), "patch_stride": list(predictor.window.stride)},
        "batch": predictor.batch_size or "auto",
        "labels": _labels(predictor.spec, shape.channels_out),
        "notes": list(predictor.notes),
    }
