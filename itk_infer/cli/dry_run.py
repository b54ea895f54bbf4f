"""``--dry-run``: prints the plan, and writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from itk_infer.cli.options import with_flags
from itk_infer.cli.progress import counted
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.predictor import Predictor
    from itk_infer.run.plan import CaseAction
    from itk_infer.run.settings import RunSettings


def print_plan(predictor: Predictor, settings: RunSettings) -> None:
    """Print every case: size, windows, memory, or why nothing will be done.

    Raises:
        NoInputError: there is no image.
    """
    from itk_infer.run.ledger import Ledger
    from itk_infer.run.plan import make_plan

    inputs = settings.find_inputs(predictor.spec.input)
    ledger = Ledger(settings.output, read_only=True, in_memory=settings.file_name is not None)
    try:
        plan = make_plan(inputs.cases, settings, predictor.identity, ledger)
    finally:
        ledger.close()
    lines = {planned.case.name: _line(planned, predictor, settings) for planned in plan}
    lines |= {item.name: f"skip: {item.reason}" for item in inputs.passed}
    width = max(map(len, lines), default=0)
    for name, line in lines.items():
        click.echo(f"{printable(name):<{width}}  {with_flags(line)}")
    run = sum(planned.action == "run" for planned in plan)
    click.echo(
        f"{run} to run, {len(lines) - run} skipped; memory is without the network's own. Nothing was written."
    )


def _line(planned: CaseAction, predictor: Predictor, settings: RunSettings) -> str:
    from itk_infer.errors import CaseError
    from itk_infer.executors.reading import case_header, check_source
    from itk_infer.outputs.registry import needs

    if planned.action != "run":
        return f"{planned.action}: {planned.reason}"
    try:
        check_source(planned.case, dict(planned.wanted))
        header = case_header(planned.case)
        grid = header.grid
        needed = needs(settings.outputs)
        asked = {"want_logits": "logits" in needed, "want_uncertainty": "uncertainty" in needed}
        case = predictor.plan(grid, header.dtype.itemsize, **asked)
        predictor.model.workspaces.check(case)
    except CaseError as error:
        return f"will fail: {error}"
    device = predictor.backend.tensor_device
    on_device = f", {case.device_memory / 2**20:,.0f} MiB on {device}" if device else ""
    size, patch = (" x ".join(map(str, values)) for values in (header.size, case.windows.patch))
    resampled = "" if case.model.identity else f", on {' x '.join(map(str, case.model.size))}"
    again = f" ({planned.reason})" if planned.reason else ""
    doubts = "".join(f"; {warning}" for warning in case.warnings)
    return (
        f"{size} voxels{resampled}, {counted(len(case.windows), 'window')} of {patch}, "
        f"about {predictor.host_memory(case).peak / 2**20:,.0f} MiB{on_device}{again}{doubts}"
    )
