"""Before the first case: reduced precision is compared with fp32, the number of windows per call searched."""

from __future__ import annotations

from itk_infer.arrays import Array
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.prepare import Prepared
from itk_infer.engine.probe_windows import probe_windows
from itk_infer.engine.workspace import Workspace
from itk_infer.machine import host_memory
from itk_infer.model.batch_size.trial import BatchTrial
from itk_infer.model.inferer.mirror import Mirrored
from itk_infer.model.runtimes.precision_check import check_precision

PROBED_WINDOWS = 3


def settle_precision(model: LoadedModel, prepared: Prepared) -> list[str]:
    """Compare a reduced precision with fp32 on a few windows; where they differ, the model runs in fp32.

    Args:
        model: Its `backend` and `precision_checked` are set.
        prepared: The first case.

    Returns:
        Notes for the user.
    """
    model.precision_checked = True
    reduced, full = model.backend, model.backend.in_full_precision()
    if full is reduced:
        return []  # stored in half precision: there is nothing better to compare with
    notes = reduced.notes
    result = check_precision(reduced, full, _windows(prepared))
    news = [note for note in reduced.notes if note not in notes]
    if result.passed:
        return news
    model.backend = full
    return [*news, f"{reduced.precision} differs too much from fp32 ({result}); fp32 is used instead"]


def settle_batch(model: LoadedModel, prepared: Prepared, workspace: Workspace) -> list[str]:
    """Search for the fastest number of windows per call, within the memory that the case leaves.

    Args:
        model: Its `batch` is set.
        prepared: The first case.
        workspace: Where it is computed.

    Returns:
        Notes for the user.
    """
    if model.auto_batch is None:
        return []

    def trial() -> BatchTrial:
        forward = model.backend.forward
        network = forward if model.mirror_axes is None else Mirrored(forward, model.mirror_axes)
        memory = host_memory if model.backend.device == "cpu" else lambda: None
        return BatchTrial(network, _windows(prepared), memory=memory)

    def fits(batch: int) -> bool:
        return model.workspaces.fits(prepared.plan.with_batch(batch * model.mirrored_copies), workspace)

    patch = prepared.plan.windows.patch
    model.batch, notes = model.auto_batch.find(model.backend, patch, trial, fits)
    return notes


def _windows(prepared: Prepared) -> Array:
    """Windows in which much happens, (N, C, Z, Y, X)."""
    return probe_windows(prepared.volume, prepared.plan.windows, PROBED_WINDOWS)
