"""One case from image to results: what the command line calls for every case, and the Python API.

import itk_infer

predictor = itk_infer.Predictor.from_onnx("model.onnx", device="cpu")
result = predictor("case.nii.gz")
result.labels        # SimpleITK image
result.volumes_ml    # {"anterior hippocampus": 2.18, ...}
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from itk_infer._version import __version__
from itk_infer.arrays import Array
from itk_infer.case.clock import Clock
from itk_infer.case.plan import CasePlan, plan_case
from itk_infer.case.prepare import Prepared, prepare
from itk_infer.case.result import LabelMeasurement, Measurements, PendingOutputs, Result
from itk_infer.case.sinks import CaseSinks
from itk_infer.case.workspaces import Workspaces
from itk_infer.engine.decision import Decision
from itk_infer.engine.memory import Memory
from itk_infer.engine.probe_windows import probe_windows
from itk_infer.engine.segment import SegmentStats, segment
from itk_infer.engine.workspace import Workspace
from itk_infer.errors import ConfigError, InputError
from itk_infer.machine import MemoryBound, host_memory, usable_cores
from itk_infer.model.backend import Backend
from itk_infer.model.batch_size.auto import AutoBatch
from itk_infer.model.batch_size.cache import open_cache
from itk_infer.model.batch_size.search import BatchChoice
from itk_infer.model.batch_size.trial import BatchTrial
from itk_infer.model.inferer.answer_check import AnswerCheck
from itk_infer.model.inferer.inferer import WindowInferer
from itk_infer.model.inferer.mirror import Mirrored
from itk_infer.model.runtimes.onnxruntime_gpu import PROVIDERS
from itk_infer.model.runtimes.precision_check import check_precision
from itk_infer.model.window import fit_window
from itk_infer.options import Options, check_options, result_options, running_options, sources_of
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.spec import Label, ModelSpec
from itk_infer.spec.values import orientation_code
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable
from itk_infer.volume.read import read_image
from itk_infer.volume.volume import Volume, volume_of

if TYPE_CHECKING:
    import SimpleITK as sitk


CHECKED_WINDOWS = 3
ENGINE_VERSION = 1  # raised whenever the same image and model would give other labels


class Predictor:
    """A model, loaded once, ready for any number of images.

    Starts no process, and writes no file but what ``batch="auto"`` keeps in its cache.

    Args:
        backend: What runs the network.
        batch: Windows a call; default: what the model's author chose, else 1. ``"auto"``: found by trying,
            before the first case.
        batch_cache: Where found batches are kept: True, the user's cache folder; False, nowhere; or a folder.
        orientation: Of label maps: a code, or ``input`` for exactly the input's grid.
        threads: Threads beside the network; default: as many as cores may be used.
        tta: Average the logits over all mirrorings along the spec's ``mirror_axes``.
        skip_empty: True: windows of one value are run once only, which changes nothing. A number: so
            are windows that nowhere exceed it after intensity, which may.
        crop_foreground: Run only the smallest box that holds every voxel above this value, after
            intensity; what lies outside is background. Not with logits.
        max_ram: Bytes a case may need besides the network; cases that need more are refused. Default:
            what the machine, its container and ``ulimit`` leave.
        max_vram: Bytes of a GPU that may be used, the network's included; where the ring of overlapping
            windows does not fit, it is in host memory. Default: what is free.

    Raises:
        ConfigError: the spec, the network and the options contradict each other.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        batch: BatchChoice | None = None,
        batch_cache: bool | Path = True,
        orientation: str = "LPI",
        threads: int | None = None,
        tta: bool = False,
        skip_empty: bool | float = False,
        crop_foreground: float | None = None,
        max_ram: int | None = None,
        max_vram: int | None = None,
    ) -> None:
        if orientation != "input" and not orientation_code(str(orientation).upper()):
            raise ConfigError(f"orientation {orientation!r}: give 'input', or a code such as LPI, RAS or LPS")
        if batch is not None and batch != "auto" and (not isinstance(batch, int) or batch < 1):
            raise ConfigError(f"batch {batch!r}: at least one window a call, or 'auto'")
        self.backend = backend
        self.threads = threads or usable_cores()
        self.orientation = orientation if orientation == "input" else orientation.upper()
        self.window = fit_window(backend.spec, backend.shape)
        self.tta = tta
        if max_vram is not None and backend.provider in PROVIDERS:
            max_vram //= 2  # the other half is onnxruntime's own
        self._workspaces = Workspaces(backend.tensor_device, self.threads, max_ram, max_vram)
        self.skip_empty = skip_empty
        self.crop_foreground = crop_foreground
        # Refuses models that allow none.
        self._mirrorings = len(Mirrored(backend.forward, backend.spec.window.mirror_axes).flips) if tta else 1
        self._auto_batch: AutoBatch | None = None
        if batch == "auto":
            batch = backend.shape.batch or 1  # until it is found; for some networks that is all
            if backend.shape.batch is None and any(self.window.patch):
                self._auto_batch = AutoBatch(self.threads, self._mirrorings, open_cache(batch_cache))
                batch = self._auto_batch.known(backend, self.window.patch) or 1
        self.batch: int = batch or backend.shape.batch or backend.shape.batch_hint or 1
        self._most: int | None = None  # windows a call, once memory has run out
        self._precision = backend.precision  # as it was asked for, whatever the self-check says
        self._checked = backend.precision == "fp32"
        self._answers_known = False  # whether they are what the spec takes them for

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        *,
        kind: str | None = None,
        **options: Unpack[Options],
    ) -> Predictor:
        """Load a model of any kind.

        Args:
            path: The file or folder of the model; a sequence: the files that together make it, for a `kind` of
                several. A folder with an MMEngine config holds code, and it runs.
            kind: ``onnx``, ``mmengine``, see `MODEL_KINDS`; default: told from the file or folder.
            **options: See `Options`.

        Raises:
            ModelError: the model or the device cannot be used.
            ConfigError: the options do not fit the model.
        """
        from itk_infer.model.registry import load_backend

        check_options(options)
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(part) for part in path]
        backend = load_backend(kind, paths, sources_of(options), running_options(options))
        return cls(backend, **result_options(options))

    @classmethod
    def from_onnx(cls, path: str | Path, **options: Unpack[Options]) -> Predictor:
        """Load an ONNX model, see `load`.

        Args:
            path: The ``.onnx`` file; a spec embedded in it, or ``<stem>.spec.json`` beside it, is used.
            **options: See `Options`.
        """
        return cls.load(path, kind="onnx", **options)

    @classmethod
    def from_mmengine(cls, config: str | Path, checkpoint: str | Path, **options: Unpack[Options]) -> Predictor:
        """Load an MMEngine config and checkpoint, see `load`. A Python config is code, and it runs.

        Args:
            config: The config file.
            checkpoint: The weights; loaded strictly, and nothing in them is run.
            **options: See `Options`.
        """
        return cls.load([config, checkpoint], kind="mmengine", **options)

    def safe_mode(self) -> Predictor:
        """The same model in the way in which least can go wrong: fp32, one window a call, sums on the host."""
        twin = copy.copy(self)
        twin.batch, twin.backend, twin._auto_batch = 1, self.backend.in_full_precision(), None
        twin._workspaces = self._workspaces.on_host()
        return twin

    @property
    def max_ram(self) -> int | None:
        """Bytes a case may need besides the network; None where nothing is known of the machine."""
        return None if self._workspaces.bound is None else self._workspaces.bound.bytes

    @property
    def memory_bound(self) -> MemoryBound | None:
        """As `max_ram`, with its source."""
        return self._workspaces.bound

    @property
    def batch_size(self) -> int | None:
        """Windows a call; None where they are still to be found."""
        auto = self._auto_batch
        return self.batch if auto is None else auto.known(self.backend, self.window.patch)

    @property
    def spec(self) -> ModelSpec:
        """The model spec, complete."""
        return self.backend.spec

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything besides the image that decides what the labels are; JSON-ready."""
        spec = self.spec.to_dict()
        # What patch and stride came to be is told below; whether they were asked for does not matter.
        del spec["window"]["patch_size"], spec["window"]["patch_stride"]
        return {
            "engine": ENGINE_VERSION,
            "model": self.backend.digest,
            "spec": {block: spec[block] for block in ("input", "window", "output")},
            "patch": list(self.window.patch),
            "stride": list(self.window.stride),
            "orientation": self.orientation,
            "precision": self._precision,
            "tta": self.tta,
            "crop_foreground": self.crop_foreground,
            "skip_empty": None if isinstance(self.skip_empty, bool) else self.skip_empty,
        }

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
            batch: Windows a call, if other than the predictor's.
        """
        return plan_case(
            grid,
            itemsize,
            self.spec,
            self.window,
            channels_out=self.backend.shape.channels_out,
            batch=(batch or self.batch) * self._mirrorings,
            want_logits=want_logits,
        )

    def check_memory(self, plan: CasePlan) -> None:
        """Refuse a case that needs more host memory than it may have.

        Raises:
            InputError: it does.
        """
        self._workspaces.check(plan)

    def host_memory(self, plan: CasePlan) -> Memory:
        """What a planned case needs of host memory: less where volume and ring are on a device."""
        return self._workspaces.host_memory(plan)

    def run(
        self,
        volume: Volume,
        make_sinks: Callable[[OutputHeader], Sequence[Sink]],
        on_windows: Callable[[int, int], None] = lambda done, total: None,
    ) -> Measurements:
        """Segment one volume into sinks, and commit them: `compute`, then `PendingOutputs.commit`.

        Args:
            volume: The case.
            make_sinks: Called when the number of channels is known; again if a device's memory ran out and
                the case is begun anew.
            on_windows: Told windows done, and windows in all.

        Raises:
            CaseError: the case cannot be finished; no sink has left anything behind.
        """
        return self.compute(volume, make_sinks, on_windows).commit()

    def compute(
        self,
        volume: Volume,
        make_sinks: Callable[[OutputHeader], Sequence[Sink]],
        on_windows: Callable[[int, int], None] = lambda done, total: None,
    ) -> PendingOutputs:
        """Segment one volume into sinks that are still to be committed. Arguments and errors as of `run`."""
        if len(volume.array) != len(self.spec.input.channels):
            raise InputError(
                f"{volume.name}: has {len(volume.array)} channels; the model takes {len(self.spec.input.channels)}"
            )
        plan = self.plan(volume.grid, volume.array.itemsize, batch=1 if self._auto_batch else None)
        workspace, told = self._workspaces.choose(plan)
        told += plan.warnings
        try:
            return self._compute_at(workspace, volume, plan, make_sinks, on_windows, told)
        except Exception as error:
            if workspace is self._workspaces.host or not self._workspaces.leave_device(error):
                raise
        self._workspaces.free_device()  # not before the error has let go of what it held
        workspace, notes = self._workspaces.choose(plan)
        told += [*notes, "the device's memory ran out; from here on overlaps are summed in host memory"]
        return self._compute_at(workspace, volume, plan, make_sinks, on_windows, told)

    def _compute_at(
        self,
        workspace: Workspace,
        volume: Volume,
        plan: CasePlan,
        make_sinks: Callable[[OutputHeader], Sequence[Sink]],
        on_windows: Callable[[int, int], None],
        told: list[str],
    ) -> PendingOutputs:
        """One attempt. What it finds out once and for all is added to `told`, and outlives it."""
        clock, warnings = Clock(), list[str]()
        every = len(plan.windows)
        prepared = prepare(workspace.put(volume.array), plan, self.spec, self.window, self.crop_foreground)
        plan = prepared.plan
        if prepared.crop is not None:
            saved = f"{every - len(plan.windows)} of {every} windows saved"
            warnings.append(f"cropped to {prepared.crop.share:.0%} of its voxels: {saved}, background outside")
        clock.lap("prepare")
        if not self._checked:
            told.extend(self._check_precision(prepared))
            clock.lap("self-check")
        auto = self._auto_batch
        if auto is not None and len(plan.windows) > 1:
            told.extend(self._find_batch(auto, workspace, prepared))
            clock.lap("batch")
        below = None if isinstance(self.skip_empty, bool) else self.skip_empty
        lowest = prepared.volume.min() if below is not None else 0.0  # without a bound, nobody asks for it
        answering = WindowInferer(
            self.backend,
            self.spec.window.mirror_axes if self.tta else None,
            None if self.skip_empty is False else lowest,
            below,
            self._most,
        )
        check = None if self._answers_known else AnswerCheck(self.spec.output)
        sinks = CaseSinks(make_sinks, lambda decision: self._frame(volume.grid, plan, decision), prepared)

        def forward(windows: Array) -> Array:
            with clock.inside("network"):
                answers = answering(windows)
            if check is not None:
                check.look(answers)
            return answers

        try:
            findings = segment(
                prepared.volume,
                plan.windows,
                plan.model,
                forward,
                self.spec.output,
                sinks.open,
                workspace=workspace,
                repair=None if self.backend.precision == "fp32" else answering.repair,
                batch=self.batch,
                on_windows=lambda done: on_windows(done, len(plan.windows)),
            )
            clock.lap("engine")
        except BaseException:
            sinks.abort()
            raise
        warnings.extend(answering.warnings(len(plan.windows)))
        if check is not None:
            warnings.extend(found := check.warnings())
            self._answers_known = check.done or bool(found)
        if answering.most is not None:  # what fits is known now; no finding stands above it
            self._most, self._auto_batch = answering.most, None
            self.batch = min(self.batch, max(1, answering.most // self._mirrorings))
        if findings.clipped:
            warnings.append(f"{findings.clipped:,} logits lie beyond the range of float16 and were clipped to it")
        measured = _measurements(findings, sinks.labels, plan, clock.seconds, [*told, *warnings])
        return PendingOutputs(sinks.open_outputs, measured)

    def _check_precision(self, prepared: Prepared) -> list[str]:
        """Before its first case, hold reduced precision against fp32; where they differ, fp32 it is."""
        full = self.backend.in_full_precision()
        if full is self.backend:
            self._checked = True
            return []  # stored in half precision: there is nothing better to hold it against
        notes = self.backend.notes
        found = check_precision(self.backend, full, _most_telling(prepared))
        self._checked = True
        news = [note for note in self.backend.notes if note not in notes]
        if found.passed:
            return news
        reduced, self.backend = self.backend.precision, full
        return [*news, f"{reduced} differs too much from fp32 ({found}); fp32 is used instead"]

    def _find_batch(self, auto: AutoBatch, workspace: Workspace, prepared: Prepared) -> list[str]:
        """Set the windows a call that are fastest, as many as this case has memory for."""

        def trial() -> BatchTrial:
            forward = self.backend.forward
            network = Mirrored(forward, self.spec.window.mirror_axes) if self.tta else forward
            memory = host_memory if self.backend.device == "cpu" else lambda: None
            return BatchTrial(network, _most_telling(prepared), memory=memory)

        def fits(batch: int) -> bool:
            return self._workspaces.fits(prepared.plan.with_batch(batch * self._mirrorings), workspace)

        self.batch, notes = auto.find(self.backend, prepared.plan.windows.patch, trial, fits)
        return notes

    def _frame(self, stored: Grid, plan: CasePlan, decision: Decision) -> OutputHeader:
        if self.orientation == "input":
            grid, reorientation = stored, plan.reorientation.inverse  # the very numbers of the input's header
        else:
            grid, reorientation = plan.native.reoriented(self.orientation)
        about = {
            "model": self.spec.name,
            "model_version": self.spec.version,
            "model_sha256": self.backend.digest,
            "itk_infer": __version__,
            "values": self.spec.output.values,
        }
        return OutputHeader(grid, reorientation, plan.native.size, decision.table, decision.channels, about)


def _most_telling(prepared: Prepared) -> Array:
    """A few windows on which to try a network."""
    return probe_windows(prepared.volume, prepared.plan.windows, CHECKED_WINDOWS)


def _measurements(
    findings: SegmentStats,
    table: tuple[Label, ...],
    plan: CasePlan,
    seconds: dict[str, float],
    warnings: list[str],
) -> Measurements:
    voxel_ml = plan.native.voxel_volume_ml
    return Measurements(
        findings=tuple(
            LabelMeasurement(label, voxels, voxels * voxel_ml, confidence)
            for label, voxels, confidence in zip(
                table, findings.voxels, findings.confidence.per_label, strict=True
            )
        ),
        confidence=findings.confidence.overall,
        confidence_foreground=findings.confidence.foreground,
        windows=len(plan.windows),
        seconds=seconds,
        warnings=tuple(warnings),
    )
