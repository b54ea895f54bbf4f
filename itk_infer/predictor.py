"""One case from image to results: what the command line calls for every case, and the Python API.

predictor = itk_infer.Predictor.load("model.onnx", device="cpu")
result = predictor("case.nii.gz")
result.labels        # SimpleITK image
result.volumes_ml    # {"anterior hippocampus": 2.18, ...}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.case.idle import idle_options
from itk_infer.case.images import volume_of_images
from itk_infer.case.infer import OnWindows, infer, quiet
from itk_infer.case.loaded_ensemble import loaded
from itk_infer.case.outputs import MakeSinks
from itk_infer.case.plan import CasePlan
from itk_infer.case.result import Measurements, PendingOutputs, Result
from itk_infer.engine.memory import Memory
from itk_infer.errors import CaseError
from itk_infer.machine import MemoryBound
from itk_infer.model.backend import Backend
from itk_infer.model.registry import load_backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.model.window import ModelWindow
from itk_infer.options import Options, declared
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import ModelSpec
from itk_infer.spec.labels import code_notes
from itk_infer.volume.volume import Volume

if TYPE_CHECKING:
    from itk_infer.case.images import Image


class Predictor:
    """A model, loaded once, ready for any number of images.

    Starts no process, and writes no file but what ``batch="auto"`` keeps in its cache.

    Args:
        backend: What runs the network.
        options: How to run it; those about loading a model are not used.
        **keywords: Single options, above `options`.

    Raises:
        TypeError: a keyword names no option, or one that is used only where a model is loaded.
        ConfigError: the spec, the network and the options contradict each other.
    """

    def __init__(self, backend: Backend, options: Options | None = None, **keywords: Any) -> None:
        for name in keywords:
            if name in declared() and "predictor" not in declared()[name].used_by:
                raise TypeError(f"option {name!r} is used where a model is loaded; this one is loaded already")
        options = (options or Options()).changed(**keywords)
        self.model = loaded(backend, options)

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        options: Options | None = None,
        *,
        kind: str | None = None,
        **keywords: Any,
    ) -> Predictor:
        """Load a model of any kind.

        Args:
            path: The file or folder of the model; a sequence: several models, whose probabilities are averaged, or
                the files that together make one. A folder with an MMEngine config holds code, and it runs.
            options: How to load and run it.
            kind: ``onnx``, ``mmengine``, see `MODEL_KINDS`; default: recognised from the file or folder.
            **keywords: Single options, above `options`.

        Raises:
            TypeError: a keyword names no option.
            ModelError: the model or the device cannot be used.
            ConfigError: the options do not fit the model.
        """
        options = (options or Options()).changed(**keywords)
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(part) for part in path]
        return cls(load_backend(kind, paths, SpecSources(options), options), options)

    @classmethod
    def from_onnx(cls, path: str | Path, options: Options | None = None, **keywords: Any) -> Predictor:
        """`load` of an ONNX file; a spec embedded in it, or ``<stem>.spec.json`` beside it, is used."""
        return cls.load(path, options, kind="onnx", **keywords)

    @classmethod
    def from_mmengine(
        cls, config: str | Path, checkpoint: str | Path, options: Options | None = None, **keywords: Any
    ) -> Predictor:
        """`load` of an MMEngine config, which is code, and it runs; and its weights, which are loaded strictly."""
        return cls.load([config, checkpoint], options, kind="mmengine", **keywords)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: devices chosen, keys ignored, unknown codes of labels, idle options."""
        idle = idle_options(self.options, self.backend, self.window)
        return (*self.backend.notes, *self.model.notes, *code_notes(self.spec.output.labels or ()), *idle)

    @property
    def options(self) -> Options:
        """How the model is run."""
        return self.model.options

    def safe_mode(self) -> Predictor:
        """The same model in fp32, one window per call, sums in host memory: for a case that a worker died of."""
        twin = Predictor.__new__(Predictor)
        twin.model = self.model.in_safe_mode()
        return twin

    @property
    def backend(self) -> Backend:
        """Runs the network."""
        return self.model.backend

    @property
    def spec(self) -> ModelSpec:
        """The model spec, complete."""
        return self.model.spec

    @property
    def window(self) -> ModelWindow:
        """Patch and stride, fitted to the network."""
        return self.model.window

    @property
    def batch_size(self) -> int | None:
        """Windows per call; None before the search of ``batch="auto"``."""
        return self.model.batch_size

    @property
    def identity(self) -> dict[str, Any]:
        """Everything besides the image that decides what the labels are; JSON-ready."""
        return self.model.identity

    @property
    def memory_bound(self) -> MemoryBound | None:
        """Host memory that a case may need besides the network, and what limits it; None: nothing is known."""
        return self.model.workspaces.bound

    def __call__(self, image: Image | Sequence[Image]) -> Result:
        """Segment one image.

        Args:
            image: A SimpleITK image, a file, the folder of a DICOM study, or a picture as an array, (Y, X) or
                (Y, X, C); a sequence of them, one per input channel, or a 4D NIfTI file with a volume per channel.

        Raises:
            CaseError: the image or the network's answer cannot be used.
        """
        volume, warnings = volume_of_images(image, self.spec.input.series, len(self.spec.input.channels))
        sinks: list[LabelMapSink] = []

        def make_sinks(header: OutputHeader) -> list[LabelMapSink]:
            sinks[:] = [LabelMapSink(None, header)]
            return sinks

        measured = self.run(volume, make_sinks)
        return Result(sinks[0].image, replace(measured, warnings=(*warnings, *measured.warnings)))

    def predict_frames(self, frames: Iterable[Image]) -> Iterator[Result]:
        """Segment pictures as they come, such as the frames of a camera or a video; one is in memory at a time.

        Args:
            frames: Images as a call of the predictor takes them; colours are red, green, blue, in this order.

        Raises:
            CaseError: a frame cannot be used; the message begins with its number, counted from 0.
        """
        for number, frame in enumerate(frames):
            try:
                yield self(frame)
            except CaseError as error:
                raise type(error)(f"frame {number}: {error}") from error

    @property
    def plan(self) -> Callable[..., CasePlan]:
        """Plans a case: its sizes, windows and memory; see `LoadedModel.plan`."""
        return self.model.plan

    def host_memory(self, plan: CasePlan) -> Memory:
        """What a planned case needs of host memory: less where volume and ring are on a device."""
        return self.model.workspaces.host_memory(plan)

    def run(self, volume: Volume, make_sinks: MakeSinks, on_windows: OnWindows = quiet) -> Measurements:
        """Segment one volume into sinks, and commit them: `compute`, then `PendingOutputs.commit`."""
        return self.compute(volume, make_sinks, on_windows).commit()

    def compute(self, volume: Volume, make_sinks: MakeSinks, on_windows: OnWindows = quiet) -> PendingOutputs:
        """Segment one volume into sinks that are still to be committed. Arguments and errors as of `infer`."""
        return infer(self.model, volume, make_sinks, on_windows)
