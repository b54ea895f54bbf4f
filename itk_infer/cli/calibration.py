"""The option that names a calibration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.cli.options import PATH, Decorator, option
from itk_infer.errors import ConfigError

if TYPE_CHECKING:
    from itk_infer.spec.calibration import Calibration


def calibration_option(heading: str) -> Decorator:
    """``--calibration``, for commands that write tables."""
    words = "File of itk_infer calibrate: confidences.xlsx then says accept, review or reject."
    return option("--calibration", heading=heading, type=PATH, help=words)


def read_calibration(path: Path | None) -> Calibration | None:
    """Read a calibration file; None for None.

    Raises:
        ConfigError: the file cannot be read, or is not a calibration.
    """
    if path is None:
        return None
    from itk_infer.spec.calibration import parse_calibration

    try:
        return parse_calibration(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--calibration {path}: cannot be read ({error})") from error
