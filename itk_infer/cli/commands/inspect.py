"""``itk_infer inspect``: the spec of a model, after all its sources were merged."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from itk_infer.cli.classifier_text import classifier_about, classifier_text
from itk_infer.cli.model import load_predictor, model_options, model_request
from itk_infer.cli.options import GroupedCommand, option, with_flags
from itk_infer.errors import TaskError
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@option("--json", "as_json", heading="Output", is_flag=True, help="One JSON object on stdout, for programs.")
def inspect_command(as_json: bool, **model: Any) -> int:
    """Show the spec of a model: classes, windows, spacing, intensities.

    What is shown is what a run with the same options would use.
    """
    from itk_infer.executors.loader import describe, described
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.model.load_classifier import says_it_classifies

    request, text = model_request(**model), model_text
    classifies = says_it_classifies(request.paths, request.options.spec)
    about = None if classifies else described(request)  # for kinds that can be described without loading
    if about is None:
        with temporary_folder(SHARED_MEMORY):
            with contextlib.suppress(TaskError):
                about = None if classifies else describe(load_predictor(**model))
            if about is None:
                about, text = classifier_about(request), classifier_text
    if as_json:
        click.echo(json.dumps(about))
    else:
        click.echo(text(about))
        for note in about["notes"]:
            click.echo(with_flags(note), err=True)
    return 1 if lost_output() else 0


def model_text(about: dict[str, Any]) -> str:
    """The result of `describe` as text."""
    spec, network = about["spec"], about["network"]
    wanted = spec["input"]
    steps = [
        " ".join([step["op"], *(f"{key}={value}" for key, value in step.items() if key != "op")])
        for step in wanted["intensity"]
    ]
    grid = f"{_triplet(wanted['spacing'], 'as stored')} mm" if wanted["spacing"] else "as stored"
    axes = " ".join(wanted.get("axes", "zyx").upper())
    if wanted["size"]:
        grid = f"resized to {_triplet(wanted['size'], 'as many')} voxels"
    rows = [
        ("model", f"{spec['name'] or 'unnamed'} {spec['version']}".strip()),
        ("description", spec["description"]),
        ("licence", spec["licence"]),
        ("sha256", about["sha256"]),
        ("device", about["device"]),
        ("input", f"{len(wanted['channels'])} channel(s) {', '.join(filter(None, wanted['channels']))}".strip()),
        ("dimensions", wanted.get("dimensions", "")),
        ("values", "integers as shares of the largest of their type" if wanted.get("values") == "unit" else ""),
        ("orientation", wanted["orientation"] or "as stored"),
        ("axes", wanted.get("axes", "")),
        ("crop", _words(wanted.get("crop"))),
        ("grid", grid),
        ("resampling", _words(wanted["resampling"]) if wanted["spacing"] or wanted["size"] else ""),
        ("intensity", ", then ".join(steps) or "as stored"),
        ("axes", wanted.get("axes", "")),
        ("window", f"{_triplet(about['window']['patch_size'], 'whole')} voxels ({axes})"),
        ("stride", _triplet(about["window"]["patch_stride"], "half the window")),
        ("batch", about["batch"]),
        ("placement", spec["window"].get("placement", "")),
        ("blend", " ".join([spec["window"]["blend"], _words(spec["window"].get("gaussian"))]).strip()),
        ("mirroring", _mirroring(spec["window"])),
        ("decision", f"{spec['output']['decision']} of {spec['output']['values']}"),
        ("threshold", _thresholds(spec["output"])),
        ("channels out", network["channels_out"] or "known after the first window"),
    ]
    lines = [f"{title:<13}{' '.join(str(value).split())}" for title, value in rows if value]
    lines.append("labels")
    codes = {label["value"]: label.get("code") for label in spec["output"].get("labels", ())}
    width = max((len(label["name"]) for label in about["labels"]), default=0)
    for label in about["labels"]:
        line = (
            f"{label['value']:>6}  {label['color']}  {label['name']:<{width}}  {_code(codes.get(label['value']))}"
        )
        lines.append(line.rstrip())
    if about.get("lines"):
        lines += ["read from it", *(f"  {line}" for line in about["lines"])]
    return "\n".join(map(printable, lines))


def _code(code: dict[str, Any] | None) -> str:
    """The codes of a label, for one line; empty if it has none."""
    from itk_infer.spec.label_codes import a_label_code

    return a_label_code(code, "code").words if code else ""


def _words(block: dict[str, Any] | None) -> str:
    """The keys of a block that have a value, on one line."""
    return " ".join(f"{key}={value}" for key, value in (block or {}).items() if value)


def _thresholds(output: dict[str, Any]) -> str:
    """Those of the spec; empty where the largest channel decides alone."""
    given = output["threshold"]
    if isinstance(given, dict):
        return ", ".join(f"{printable(name)} {value:g}" for name, value in given.items())
    return f"{given:g}" if output["decision"] == "threshold" else ""


def _mirroring(window: dict[str, Any]) -> str:
    if not window["mirror_axes"]:
        return ""
    axes = ", ".join("ZYX"[axis] for axis in window["mirror_axes"])
    return f"along {axes}, {'unless --no-tta' if window.get('mirror') else 'with --tta'}"


def _triplet(values: list[Any] | None, absent: str) -> str:
    if values is None or all(value is None for value in values):
        return absent
    return " x ".join(absent if value is None else f"{value:g}" for value in values)
