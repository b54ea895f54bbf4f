"""The output of ``inspect`` for a model that classifies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itk_infer._version import __version__

if TYPE_CHECKING:
    from itk_infer.executors.loader import ModelRequest


def classifier_about(request: ModelRequest) -> dict[str, Any]:
    """The description of a classifying model, JSON-ready; loads the model."""
    from itk_infer.classifier import Classifier

    model = Classifier.load(request.paths, request.options, kind=request.kind).model
    return {
        "itk_infer": __version__,
        "task": "classify",
        "name": model.name,
        "sha256": model.digest,
        "networks": [
            {**member, "device": network.device, "provider": network.provider, "precision": network.precision}
            for member, network in zip(model.members, model.networks, strict=True)
        ],
        "spec": model.spec.to_dict(),
        "notes": model.notes,
    }


def classifier_text(about: dict[str, Any]) -> str:
    """The result of `classifier_about` as text."""
    spec = about["spec"]
    wanted, means = spec["input"], spec["output"]
    steps = [
        " ".join([step["op"], *(f"{k}={v}" for k, v in step.items() if k != "op")]) for step in wanted["intensity"]
    ]
    size = " x ".join(map(str, wanted["size"])) if wanted["size"] else "as stored"
    rows = [
        ("model", f"{about['name']} {spec['version']}".strip()),
        ("task", "classify"),
        ("description", spec["description"]),
        ("licence", spec["licence"]),
        ("sha256", about["sha256"]),
        ("values", f"{wanted['values']}, view {wanted['view']}; without a window: {wanted['missing_voi']}"),
        ("channels", ", ".join(map(_channel, wanted["channels"]))),
        ("size", f"{size} (rows x columns)"),
        ("resize", " ".join(f"{key}={value}" for key, value in wanted["resize"].items())),
        ("center crop", wanted["center_crop"] or ""),
        ("intensity", ", then ".join(steps) or "none"),
        ("only", "; ".join(_rule(rule) for rule in spec["select"])),
        ("repair", wanted.get("repair", "")),
        ("activation", means["activation"]),
        ("mirrored", "mean with the mirror image" if means.get("mirrored") else ""),
        ("study", means["study"]),
    ]
    lines = [f"{title:<13}{value}" for title, value in rows if value]
    lines.append("labels")
    for label in means["labels"]:
        of = f", a case of {label['parent']}" if "parent" in label else ""
        lines.append(f"{label['channel']:>6}  {label['name']}, positive from {label['threshold']:g}{of}")
    lines.append("networks")
    for network in about["networks"]:
        group = f" ({network['group']})" if network["group"] else ""
        lines.append(
            f"  {network['name']}{group}: {network['precision']} on {network['device']}, {network['provider']}"
        )
    return "\n".join(lines)


def _channel(channel: Any) -> str:
    return channel if isinstance(channel, str) else " ".join(f"{key} {value}" for key, value in channel.items())


def _rule(rule: dict[str, Any]) -> str:
    words = "in" if "in" in rule else "not_in"
    return f"{rule['keyword']} {words.replace('_', ' ')} {', '.join(rule[words])}"
