"""The parts of the bench: each measures, writes its section of the page, and says what to draw."""

from __future__ import annotations

from typing import Any, Protocol

from plots import Figure
from setting import Setting

from parts import (
    accumulate,
    accuracy,
    bundle,
    classify,
    depth,
    dicom,
    dicom_reading,
    engine,
    ensemble,
    evaluate,
    export,
    failures,
    folder,
    nnunet,
    postprocess,
    start,
)


class Part(Protocol):
    """A module of this package."""

    def measure(self, setting: Setting) -> dict[str, Any]:
        """Measure, or say in ``skipped`` why not."""

    def section(self, found: dict[str, Any]) -> list[str]:
        """Lines of the page, from its heading on."""

    def figures(self, found: dict[str, Any]) -> list[Figure]:
        """What to draw below the section."""


PARTS: dict[str, Part] = {
    "engine": engine,
    "export": export,
    "folder": folder,
    "nnunet": nnunet,
    "bundle": bundle,
    "depth": depth,
    "ensemble": ensemble,
    "accumulate": accumulate,
    "accuracy": accuracy,
    "failures": failures,
    "start": start,
    "evaluate": evaluate,
    "dicom_reading": dicom_reading,
    "dicom": dicom,
    "classify": classify,
    "postprocess": postprocess,
}
