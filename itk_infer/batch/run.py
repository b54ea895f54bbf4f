"""The run: every case once, each in its own try, the ledger after each."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.batch.cases import Case, find_cases
from itk_infer.batch.derived import write_derived
from itk_infer.batch.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    CaseStarted,
    Events,
    Progress,
    RunDone,
    RunStarted,
    Warned,
)
from itk_infer.batch.fingerprint import sha256_of, stamp_of
from itk_infer.batch.ledger import InputFile, Ledger, OutputFile
from itk_infer.batch.lock import FolderLock
from itk_infer.batch.plan import Planned, make_plan, output_identity
from itk_infer.batch.settings import RunSettings
from itk_infer.batch.stop import StopRequest
from itk_infer.errors import CaseError, ConfigError, Interrupted, OutputError
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.layered import LayeredSegmentationSink
from itk_infer.outputs.logits import LogitsSink
from itk_infer.outputs.sink import Frame, Sink
from itk_infer.predictor import Predictor
from itk_infer.result import Measurements
from itk_infer.volume.commit import sweep_partials
from itk_infer.volume.read import read_image
from itk_infer.volume.volume import volume_of

PACKAGES = ("numpy", "SimpleITK", "onnxruntime", "onnxruntime-gpu", "torch", "mmengine", "mmsegmentation", "zarr")


@dataclass(slots=True)
class Summary:
    """How a run ended.

    Attributes:
        done: Case names, in the order they were finished.
        failed: Reasons by case name.
        skipped: Reasons by case name.
        seconds: Wall time.
        exit_code: For the shell.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int = 0


def run_batch(
    predictor: Predictor, settings: RunSettings, events: Events | None = None, command: Sequence[str] = ()
) -> Summary:
    """Segment a folder in this process.

    One bad case never stops the others. A signal stops the run between two windows; what is finished
    stays, and the next run does the rest.

    Args:
        predictor: The loaded model.
        settings: Folders and outputs.
        events: Who is told what happens.
        command: The command line, for the ledger.

    Raises:
        ConfigError: the folders cannot be used, or another run is at work in the output folder.
        NoInputError: there is no image.
    """
    events = events or Events()
    cases = find_cases(
        settings.source,
        settings.output,
        recursive=settings.recursive,
        channels=len(predictor.spec.input.channels),
    )
    _make_folder(settings.output)
    with StopRequest() as stop, FolderLock(settings.output) as lock:
        ledger = Ledger(settings.output)
        try:
            sweep_partials(settings.output, recursive=settings.recursive)
            plan = make_plan(cases, settings, predictor.identity, ledger, lock.crashed_at)
            ledger.begin_run(events.run, _about(predictor, command))
            summary = _Run(predictor, settings, events, ledger, stop).work(plan)
            ledger.end_run(events.run, summary.exit_code)
            return summary
        finally:
            ledger.close()


class _Run:
    def __init__(
        self,
        predictor: Predictor,
        settings: RunSettings,
        events: Events,
        ledger: Ledger,
        stop: StopRequest,
    ) -> None:
        self.predictor = predictor
        self.settings = settings
        self.events = events
        self.ledger = ledger
        self.stop = stop
        self.summary = Summary()

    def work(self, plan: list[Planned]) -> Summary:
        started = time.monotonic()
        skipped = sum(planned.action == "skip" for planned in plan)
        name = self.predictor.spec.name or "unnamed model"
        self.events.emit(RunStarted(__version__, len(plan), skipped, 1, self.predictor.backend.device, name))
        interrupted: Interrupted | None = None
        try:
            for planned in plan:
                self.stop.check()
                self._case(planned)
        except Interrupted as error:
            interrupted = error
        self._derive()
        summary = self.summary
        summary.seconds = time.monotonic() - started
        if interrupted is not None:
            summary.exit_code = interrupted.exit_code
        elif summary.failed:
            summary.exit_code = 4 if len(summary.failed) == len(plan) else 3
        counts = len(summary.done), len(summary.failed), len(summary.skipped)
        self.events.emit(RunDone(*counts, round(summary.seconds, 3), summary.exit_code))
        return summary

    def _case(self, planned: Planned) -> None:
        case = planned.case
        if planned.action == "skip":
            self._skip(case, planned.reason, planned.reason != "already done")
        elif planned.action == "fail":
            self._fail(case, planned.reason, 0)
        else:
            attempt = self.ledger.start(case.name, self.events.run)
            for path in planned.kept:
                self._warn(f"{case.name}: kept {path}: somebody else changed it; --overwrite replaces it")
            for path in planned.outdated:
                self._warn(f"{case.name}: {path} stays as an earlier run left it; --save-logits renews it")
            if planned.reason:
                self._warn(f"{case.name}: computed again: {planned.reason}")
            try:
                self._segment(planned)
            except Interrupted:
                self.ledger.settle(case.name, self.events.run, "interrupted", "the run was stopped")
                raise
            except CaseError as error:
                self._fail(case, str(error), attempt)
            except ConfigError as error:
                self._fail(case, str(error), attempt)
            except MemoryError:
                self._fail(case, "not enough memory for this image; see --dry-run for what it needs", attempt)
            except Exception as error:  # one bad case never stops the others, not even by a fault of ours
                where = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"unexpected {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
                self._fail(case, reason, attempt)

    def _segment(self, planned: Planned) -> None:
        case, started = planned.case, time.perf_counter()
        images = [read_image(path) for path in case.paths]
        inputs = [
            InputFile(str(path), image.sha256, stamp_of(path))
            for path, image in zip(case.paths, images, strict=True)
        ]
        warnings = [warning for image in images for warning in image.warnings]
        volume = volume_of([image.image for image in images], case.name)
        del images  # twice the memory otherwise
        reading = time.perf_counter() - started
        self.stop.check()
        windows = len(self.predictor.plan(volume.grid, volume.array.itemsize).windows)
        self.events.emit(CaseStarted(case.name, 0, volume.grid.size, windows))
        began = time.perf_counter()

        def on_windows(done: int, total: int) -> None:
            eta = (time.perf_counter() - began) / done * (total - done)
            self.events.emit(Progress(case.name, 0, "windows", done, total, round(eta, 3)))
            self.stop.check()

        found = self.predictor.run(volume, lambda frame: self._sinks(planned, frame), on_windows)
        seconds = {"read": reading, **found.seconds}
        warnings.extend(found.warnings)
        for warning in warnings:
            self._warn(f"{case.name}: {warning}")
        results = _results(found, seconds, warnings)
        identity = output_identity(self.predictor.identity, inputs)
        outputs = [self._output(case, path, identity) for path in found.paths]
        self.ledger.finish(case.name, inputs, results, outputs)
        self.summary.done.append(case.name)
        self.events.emit(
            CaseDone(
                case.name,
                tuple(str(path) for path in found.paths),
                round(time.perf_counter() - started, 3),
                found.confidence,
                found.volumes_ml,
                results["seconds"],
            )
        )

    def _sinks(self, planned: Planned, frame: Frame) -> list[Sink]:
        sinks: list[Sink] = []
        if planned.logits:
            path = self.settings.logits_path(planned.case)
            _make_folder(path.parent)
            sinks.append(LogitsSink(path, frame))
        if planned.labels:
            path = self.settings.label_path(planned.case)
            _make_folder(path.parent)
            layered = self.settings.format == "seg.nrrd" and self.predictor.spec.output.decision == "threshold"
            sinks.append(LayeredSegmentationSink(path, frame) if layered else LabelMapSink(path, frame))
        return sinks

    def _output(self, case: Case, path: Path, identity: dict[str, Any]) -> OutputFile:
        below = path.relative_to(self.settings.output).as_posix()
        kind = "logits" if path == self.settings.logits_path(case) else "labels"
        return OutputFile(below, case.name, kind, identity, sha256_of(path), stamp_of(path))

    def _derive(self) -> None:
        try:
            kept = write_derived(
                self.settings.output,
                self.ledger,
                workbook=self.settings.save_conf,
                overwrite=self.settings.overwrite,
            )
        except OutputError as error:
            kept = [str(error)]
        for sentence in kept:
            self._warn(sentence)

    def _skip(self, case: Case, reason: str, noteworthy: bool) -> None:
        if noteworthy:
            self.ledger.settle(case.name, self.events.run, "skipped", reason)
        self.summary.skipped[case.name] = reason
        self.events.emit(CaseSkipped(case.name, reason))

    def _fail(self, case: Case, reason: str, attempt: int) -> None:
        self.ledger.settle(case.name, self.events.run, "failed", reason)
        self.summary.failed[case.name] = reason
        self.events.emit(CaseFailed(case.name, reason, attempt))

    def _warn(self, message: str) -> None:
        self.events.emit(Warned(message))


def _results(found: Measurements, seconds: dict[str, float], warnings: list[str]) -> dict[str, Any]:
    """What the ledger keeps of a case, JSON-ready."""
    return {
        "confidence": found.confidence,
        "confidence_foreground": found.confidence_foreground,
        "findings": [
            {
                **asdict(item.label),
                "voxels": item.voxels,
                "volume_ml": item.volume_ml,
                "confidence": item.confidence,
            }
            for item in found.findings
        ],
        "windows": found.windows,
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        "warnings": warnings,
        "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _about(predictor: Predictor, command: Sequence[str]) -> dict[str, Any]:
    versions = {"itk_infer": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": list(command),
        "host": platform.node(),
        "pid": os.getpid(),
        "versions": versions,
        "device": predictor.backend.device,
        "provider": predictor.backend.provider,
        "precision": predictor.backend.precision,
        "model": {"name": predictor.spec.name, "version": predictor.spec.version},
        "notes": list(predictor.backend.notes),
        "identity": predictor.identity,
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be created ({error.strerror})") from None
