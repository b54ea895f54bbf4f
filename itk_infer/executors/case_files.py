"""Runs one case from its input files to its output files, with exactly one outcome, also after an error.

Runs in the process that holds the model: this one, a worker, or one on another machine. Does not write the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from itk_infer.case.case import Case
from itk_infer.case.identity import digest_of, output_identity
from itk_infer.case.result import Measurements
from itk_infer.engine.memory import Memory
from itk_infer.errors import (
    CaseError,
    ConfigError,
    InputError,
    InterruptedRunError,
    LockLostError,
    OutputError,
    unexpected,
)
from itk_infer.events import CaseStarted, Progress, Warned
from itk_infer.executors.messages import Failed, Finished, Outcome, Stopped, Task
from itk_infer.executors.reading import CaseImage, read_case
from itk_infer.files.commit import verified_by
from itk_infer.files.folders import make_folder
from itk_infer.files.records import OutputFile
from itk_infer.files.stamp import sha256_of, stamp_of
from itk_infer.machine import MemoryBound, ran_out, shortage
from itk_infer.outputs.opening import open_outputs
from itk_infer.outputs.output_kind import PAGE, PICTURE, VOLUME
from itk_infer.outputs.registry import LABELS, OUTPUTS, needs
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.predictor import Predictor
from itk_infer.volume.dicom.derived import check_referable
from itk_infer.volume.names import is_picture

PROGRESS_S = 0.1  # seconds between two events of progress
OnEvent = Callable[[CaseStarted | Progress | Warned], None]
Settled = TypeVar("Settled")


@dataclass(frozen=True, slots=True)
class PendingCase:
    """A computed case whose files are not written yet; writing them does not need the network.

    Attributes:
        name: Name of the case.
        memory: Upper bound of the bytes that writing allocates.
        write: Commits the files; may be called in any thread. Never raises an `Exception`.
        drop: Removes the partial files instead.
    """

    name: str
    memory: int
    write: Callable[[], Outcome]
    drop: Callable[[], Stopped]


def run_case(
    predictor: Predictor,
    task: Task,
    worker: int,
    show: OnEvent,
    check: Callable[[], None],
) -> Outcome:
    """Segment one case and commit its files. Never raises an `Exception`.

    Args:
        predictor: The loaded model.
        task: The case, and the files to write.
        worker: Number of the worker, for events.
        show: Called with the events of the case.
        check: Called between windows; raises `InterruptedRunError` to stop.
    """
    found = compute_case(predictor, task, worker, show, check)
    return found.write() if isinstance(found, PendingCase) else found


def compute_case(
    predictor: Predictor,
    task: Task,
    worker: int,
    show: OnEvent,
    check: Callable[[], None],
    *,
    read: Callable[[Case, MemoryBound | None], CaseImage] = read_case,
    on_memory: Callable[[Memory], None] = lambda memory: None,
) -> PendingCase | Outcome:
    """As `run_case`, but the files are not written yet.

    Args:
        predictor: The loaded model.
        task: The case, and the files to write.
        worker: Number of the worker, for events.
        show: Called with the events of the case, including those of writing.
        check: Called between windows; raises `InterruptedRunError` to stop.
        read: Reads the case, within the memory bound.
        on_memory: Called with the predicted memory, before the first window.
    """

    def compute() -> PendingCase:
        safe_mode = predictor.safe_mode() if task.safer else predictor
        return _compute(safe_mode, task, worker, show, check, read, on_memory)

    return _settled(task, worker, compute)


def _settled(task: Task, worker: int, step: Callable[[], Settled]) -> Settled | Stopped | Failed:
    """The result of a step or, if it raised, the outcome of the case."""
    try:
        return step()
    except (InterruptedRunError, LockLostError):
        return Stopped(task.name)
    except (CaseError, ConfigError) as error:
        reason = task.case.unnamed(str(error))
    except Exception as error:  # one bad case never stops the others, even if this program has a bug
        if ran_out(error):
            reason = f"{shortage('this image and the libraries')}; a dry run prints what the image needs"
        else:
            reason = unexpected(error)
    return Failed(task.name, worker, reason)


def _compute(
    predictor: Predictor,
    task: Task,
    worker: int,
    show: OnEvent,
    check: Callable[[], None],
    read: Callable[[Case, MemoryBound | None], CaseImage],
    on_memory: Callable[[Memory], None],
) -> PendingCase:
    case, started = task.case, time.perf_counter()
    image = read(case, predictor.memory_bound)
    check()
    volume, needed = image.volume, needs(dict(task.wanted))
    _check_outputs(task, image)
    plan = predictor.plan(
        volume.grid,
        volume.array.itemsize,
        want_logits="logits" in needed,
        want_uncertainty="uncertainty" in needed,
    )
    memory = predictor.host_memory(plan)
    on_memory(memory)
    show(CaseStarted(case.name, worker, volume.grid.size, len(plan.windows)))
    began, due = time.perf_counter(), 0.0

    def on_windows(done: int, total: int) -> None:
        nonlocal due
        now = time.perf_counter()
        if now >= due or done == total:  # each event takes the parent as long as a small window takes
            due = now + PROGRESS_S
            eta = (now - began) / done * (total - done)
            show(Progress(case.name, worker, "windows", done, total, round(eta, 3)))
        check()

    identity = output_identity(predictor.identity, image.inputs)
    # The image is kept until the outputs are written only if they draw or measure it.
    shown = volume if "image" in needed else None
    source = image.source if "source" in needed else None
    about: dict[str, Any] = {"image": shown, "source": source, "identity": digest_of(identity)}
    computed = predictor.compute(volume, lambda header: _open(task, replace(header, **about)), on_windows)
    inputs, read_seconds, read_warnings = image.inputs, image.seconds, image.warnings  # not the voxels

    def write() -> Finished:
        with verified_by(task.verify):
            found = computed.commit()
        seconds = {"read": read_seconds, **found.seconds}
        warnings = [*read_warnings, *found.warnings]
        for warning in warnings:
            show(Warned(f"{case.name}: {warning}"))
        return Finished(
            case.name,
            worker,
            inputs,
            _results(found, seconds, warnings),
            tuple(_output(task, path, identity) for path in found.paths),
            tuple(str(path) for path in found.paths),
            found.volumes_ml,
            round(time.perf_counter() - started, 3),
        )

    def drop() -> Stopped:
        computed.abort()
        return Stopped(case.name)

    return PendingCase(case.name, memory.writing, lambda: _settled(task, worker, write), drop)


def _check_outputs(task: Task, image: CaseImage) -> None:
    """Refuse outputs that cannot hold results of a case, before it is computed.

    Raises:
        InputError: outputs refer to a DICOM series, and the case is not one.
        OutputError: outputs are of pictures and the case is a volume, or the reverse; or the case has several
            pages and the output holds one.
    """
    if "source" in needs(dict(task.wanted)):
        if image.source is None:
            raise InputError("is no DICOM series, which the outputs that are asked for refer to")
        check_referable(image.source)
    grid = image.volume.grid
    for name, path in task.wanted:
        kind = OUTPUTS[name]
        if grid.oriented and (PICTURE in kind.needs or (name == LABELS and is_picture(path.name))):
            raise OutputError(
                f"the {kind.title} {path.name} is of pictures, and this is a volume; choose another format, or "
                "leave it out"
            )
        if not grid.oriented and VOLUME in kind.needs:
            raise OutputError(f"the {kind.title} {path.name} is of volumes, and this is a picture; leave it out")
        if grid.size[0] > 1 and (PAGE in kind.needs or (name == LABELS and path.suffix == ".png")):
            raise OutputError(
                f"the {kind.title} {path.name} is of one page, and this picture has {grid.size[0]}; save the "
                "pages as files of their own, or leave it out"
            )


def _open(task: Task, header: OutputHeader) -> list[Sink]:
    if not task.folder.is_dir():  # not created again, because the ledger was in it
        raise OutputError(f"{task.folder}: the output folder is missing, or was removed; run again")
    for _, path in task.wanted:
        make_folder(path.parent)
    # The label map is committed last: if it exists, all other files of the case do.
    return open_outputs(task.wanted[::-1], replace(header, track=True))


def _output(task: Task, path: Path, identity: dict[str, Any]) -> OutputFile:
    name = next(name for name, wanted in task.wanted if wanted == path)
    below = path.relative_to(task.folder).as_posix()
    return OutputFile(below, task.name, name, identity, sha256_of(path), stamp_of(path))


def _results(found: Measurements, seconds: dict[str, float], warnings: list[str]) -> dict[str, Any]:
    """The results of a case for the ledger, JSON-ready."""
    return {
        "confidence": found.confidence,
        "confidence_foreground": found.confidence_foreground,
        "findings": [
            {
                **asdict(item.label),
                "voxels": item.voxels,
                "volume_ml": item.volume_ml,
                "confidence": item.confidence,
                "soft_dice": item.soft_dice,
                "expected_ml": item.expected_ml,
                "components": item.components,
                "outside_largest": item.outside_largest,
                **({} if found.members == 1 else {"agreement": item.agreement}),
            }
            for item in found.labels
        ],
        "soft_dice": found.soft_dice,
        "worst_label": None if found.worst is None else found.worst.label.name,
        **_of_members(found),
        "postprocessing": [{**asdict(effect), "label": effect.label.name} for effect in found.effects],
        "windows": found.windows,
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        "warnings": warnings,
        "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _of_members(found: Measurements) -> dict[str, Any]:
    if found.members == 1:
        return {}
    least = found.least_agreed
    return {
        "members": found.members,
        "agreement": found.agreement,
        "least_agreed_label": None if least is None else least.label.name,
        "mutual_information": found.mutual_information,
    }
