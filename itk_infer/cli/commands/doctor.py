"""``itk_infer doctor``: what is installed here, what runs on which device, and what is known to fail."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from itk_infer.cli.model import model_options, model_request
from itk_infer.cli.options import PATH, GroupedCommand, option, with_flags
from itk_infer.model.registry import MODEL_KINDS
from itk_infer.streams import lost_output


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@option("--speed", heading="Output", is_flag=True, help="Also time the bundled network, for about 10 s.")
@option("--json", "as_json", heading="Output", is_flag=True, help="One JSON object on stdout, for programs.")
@option("-i", "--input", "image", heading="Output", type=PATH, help="With -m: what this image would take.")
@model_options
def doctor_command(speed: bool, as_json: bool, image: Path | None, **model: Any) -> int:
    """Show versions, devices, memory, disk and extras, and name what is known to fail. Changes nothing.

    With -m MODEL and -i IMAGE also: memory and time that the image would take, and which option would shorten it.
    Exit code 1 if there is a problem.
    """
    from itk_infer.doctor.gather import gather
    from itk_infer.doctor.known import findings
    from itk_infer.doctor.page import page, under
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder

    flags = [flag.parameter for kind in MODEL_KINDS for flag in kind.flags]
    given = bool(model["model"]) or any(model[flag] is not None for flag in flags)
    if given != (image is not None):
        raise click.UsageError("-m MODEL and -i IMAGE belong together")
    case, measured = None, []
    with temporary_folder(SHARED_MEMORY):
        if image is not None:  # before the packages below are imported, which a run would not import
            from itk_infer.doctor.one_case import one_case

            case = one_case(model_request(**model), image)
        facts = gather()
        found = findings(facts)
        if speed:
            from itk_infer.doctor.speed import speeds

            measured = list(speeds())
    if as_json:
        content = {
            **facts.to_dict(),
            "findings": [dataclasses.asdict(finding) for finding in found],
            "speed": [dataclasses.asdict(one) for one in measured],
            "case": None if case is None else dataclasses.asdict(case),
        }
        click.echo(json.dumps(content))
    else:
        click.echo(with_flags(page(facts, found)))
        for title, lines in (("speed", [*map(str, measured)]), ("this image", case.lines() if case else [])):
            if lines:
                click.echo(with_flags(under(title, lines)))
    problem = any(finding.level == "problem" for finding in found) or bool(case and case.fits)
    return 1 if problem or lost_output() else 0
