"""One case from image to results: what the command line calls for every case, and the Python API.

import itk_infer

predictor = itk_infer.Predictor.from_onnx("model.onnx", device="cpu")
result = predictor("case.nii.gz")
result.labels        # SimpleITK image
result.volumes_ml    # {"anterior hippocampus": 2.18, ...}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.case.idle import idle_options
from itk_infer.case.infer import infer
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.plan import CasePlan
from itk_infer.case.result import Measurements, PendingOutputs, Result
from itk_infer.engine.memory import Memory
from itk_infer.errors import InputError
from itk_infer.machine import MemoryBound
from itk_infer.model.backend import Backend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.model.window import ModelWindow
from itk_infer.options import Options, declared
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.spec import ModelSpec
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable
from itk_infer.volume.read import read_image
from itk_infer.volume.volume import Volume, volume_of

if TYPE_CHECKING:
    import SimpleITK as sitk


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
        self.model = LoadedModel(backend, (options or Options()).changed(**keywords))

    @classmethod
    def from_onnx(cls, path: str | Path, options: Options | None = None, **keywords: Any) -> Predictor:
        """Load an ONNX model.

        Args:
            path: The ``.onnx`` file; a spec embedded in it, or ``<stem>.spec.json`` beside it, is used.
            options: How to load and run it.
            **keywords: Single options, above `options`.

        Raises:
            TypeError: a keyword names no option.
            ModelError: the model or the device cannot be used.
            ConfigError: the options do not fit the model.
        """
        from itk_infer.model.kinds.onnx import OnnxBackend

        options = (options or Options()).changed(**keywords)
        backend = OnnxBackend(Path(path), sources=SpecSources(options), **options.for_backend())
        return cls(backend, options)

    @classmethod
    def from_mmengine(
        cls, config: str | Path, checkpoint: str | Path, options: Options | None = None, **keywords: Any
    ) -> Predictor:
        """Load an MMEngine config and checkpoint. A Python config is code, and it runs.

        Args:
            config: The config file.
            checkpoint: The weights; loaded strictly, and nothing in them is run.
            options: How to load and run it.
            **keywords: Single options, above `options`.

        Raises:
            TypeError: a keyword names no option.
            ModelError: the model or the device cannot be used.
            ConfigError: the options do not fit the model.
        """
        from itk_infer.model.kinds.mmengine import MMEngineBackend

        options = (options or Options()).changed(**keywords)
        backend = MMEngineBackend(
            Path(config), Path(checkpoint), sources=SpecSources(options), **options.for_backend()
        )
        return cls(backend, options)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: devices chosen, keys ignored, options that do nothing with this model."""
        return (*self.backend.notes, *idle_options(self.options, self.backend, self.window))

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

    @property
    def max_ram(self) -> int | None:
        """Bytes of `memory_bound`."""
        return None if self.memory_bound is None else self.memory_bound.bytes

    def __call__(self, image: sitk.Image | str | Path | Sequence[sitk.Image | str | Path]) -> Result:
        """Segment one image.

        Args:
            image: A SimpleITK image or a file; a sequence of them, one an input channel, for a model
                of several channels.

        Raises:
            CaseError: the image or the network's answer cannot be used.
        """
        parts = image if isinstance(image, list | tuple) else [image]
        if not parts:
            raise InputError("no image was given")
        images: list[sitk.Image] = []
        names: list[str] = []
        warnings: list[str] = []
        for part in parts:
            if isinstance(part, str | Path):
                read = read_image(Path(part))
                images.append(read.image)
                names.append(printable(Path(part).name))
                warnings.extend(read.warnings)
            elif hasattr(part, "GetDirection"):
                names.append(f"channel {len(images)}")
                images.append(part)
            else:
                raise InputError(f"a {type(part).__name__} is no image: give a SimpleITK image or a path")
        sinks: list[LabelMapSink] = []

        def make_sinks(frame: OutputHeader) -> list[LabelMapSink]:
            sinks[:] = [LabelMapSink(None, frame)]
            return sinks

        volume = volume_of(images, "the image", names)
        measurements = self.run(volume, make_sinks)
        measurements = replace(measurements, warnings=(*warnings, *volume.warnings, *measurements.warnings))
        return Result(sinks[0].image, measurements)

    def plan(self, grid: Grid, itemsize: int, *, want_logits: bool = False, batch: int | None = None) -> CasePlan:
        """What a case will take: sizes, windows, memory.

        Args:
            grid: The case's grid as stored.
            itemsize: Bytes of a stored voxel.
            want_logits: Whether logits will be written.
            batch: Windows per call, if other than the predictor's.
        """
        return self.model.plan(grid, itemsize, want_logits=want_logits, batch=batch)

    def check_memory(self, plan: CasePlan) -> None:
        """Refuse a case that needs more host memory than it may have.

        Raises:
            InputError: it does.
        """
        self.model.workspaces.check(plan)

    def host_memory(self, plan: CasePlan) -> Memory:
        """What a planned case needs of host memory: less where volume and ring are on a device."""
        return self.model.workspaces.host_memory(plan)

    def run(
        self,
        volume: Volume,
        make_sinks: Callable[[OutputHeader], Sequence[Sink]],
        on_windows: Callable[[int, int], None] = lambda done, total: None,
    ) -> Measurements:
        """Segment one volume into sinks, and commit them: `compute`, then `PendingOutputs.commit`."""
        return self.compute(volume, make_sinks, on_windows).commit()

    def compute(
        self,
        volume: Volume,
        make_sinks: Callable[[OutputHeader], Sequence[Sink]],
        on_windows: Callable[[int, int], None] = lambda done, total: None,
    ) -> PendingOutputs:
        """Segment one volume into sinks that are still to be committed. Arguments and errors as of `infer`."""
        return infer(self.model, volume, make_sinks, on_windows)
