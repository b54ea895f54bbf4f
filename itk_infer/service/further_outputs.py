"""The further outputs of a job: those that clients may request, and for which images."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.outputs.registry import OUTPUTS, case_outputs
from itk_infer.service.refusal import Refusal


def check_save(names: Sequence[str], *, is_series: bool = True) -> None:
    """Check that a job can write these outputs.

    Args:
        names: Names of the outputs.
        is_series: Whether the image may be a DICOM series.

    Raises:
        Refusal: ``invalid``.
    """
    possible = [kind.name for kind in case_outputs() if kind.flags]
    if set(names) - set(possible):
        raise Refusal("invalid", f"save: no such output; there are {', '.join(possible)}")
    for kind in (OUTPUTS[name] for name in names):
        if not kind.is_installed:
            raise Refusal("invalid", f"save: {kind.name} needs {kind.package}, which this server does not have")
        if kind.refers_to and kind.refers_to not in names:
            raise Refusal("invalid", f"save: {kind.name} refers to {kind.refers_to}; ask for both")
        if "source" in kind.needs and not is_series:
            raise Refusal("invalid", f"save: {kind.name} is of a DICOM series; send the study as a zip")
