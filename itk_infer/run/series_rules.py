"""The file of the option `series`: rules that choose DICOM series."""

from __future__ import annotations

import json
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.spec.series_rule import SeriesRule, parse_rules


def read_rules(path: Path) -> tuple[SeriesRule, ...]:
    """Read the rules of a JSON file.

    Raises:
        ConfigError: the file cannot be read, or has no valid rules.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"`series={path}`: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"`series={path}`: is not JSON ({error})") from None
    return parse_rules(document, f"`series={path}`")
