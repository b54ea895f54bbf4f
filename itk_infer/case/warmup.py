"""Before the first case: compare reduced precision with fp32, and search for the number of windows per call."""

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
        model: Gets its `precision_checked`, and `backend` if they differ.
        prepared: The first case, prepared.

    Returns:
        Notes for the user.
    """
    model.precision_checked = True
    reduced, full = model.backend, model.backend.in_full_precision()
    if full is reduced:
        return []  # stored in half precision: there is no fp32 network to compare with
    notes = reduced.notes
    result = check_precision(reduced, full, _windows(prepared))
    new_notes = [note for note in reduced.notes if note not in notes]
    if result.passed:
        return new_notes
    model.backend = full
    return [*new_notes, f"{reduced.precision} differs too much from fp32 ({result}); fp32 is used instead"]


def settle_batch(model: LoadedModel, prepared: Prepared, workspace: Workspace) -> list[str]:
    """Search for the fastest number of windows per call, within the memory that the case leaves.

    Args:
        model: Gets its `batch`.
        prepared: The first case, prepared.
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
    """Windows with much contrast, (N, C, Z, Y, X), see `probe_windows`."""
    return probe_windows(prepared.volume, prepared.plan.windows, PROBED_WINDOWS)
