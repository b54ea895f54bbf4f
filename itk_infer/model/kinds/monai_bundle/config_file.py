"""Reads the JSON and YAML files of a bundle, within limits."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError

MAX_BYTES = 2**20
MAX_VALUES = 100_000  # with YAML aliases expanded
MAX_DEPTH = 100
MAX_DIGITS = 1000


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a JSON or YAML file: plain values only, no YAML tags.

    Raises:
        ModelError: it cannot be read, is too large, or is not a mapping of names to values.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path}: has {size} bytes; a config of a bundle has at most {MAX_BYTES}")
        text = path.read_text("utf-8")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ModelError(f"{path}: is no text ({error}); copy or download the bundle again") from None
    return parse_config(text, str(path), yaml=path.suffix != ".json")


def parse_config(text: str, source: str, *, yaml: bool) -> Mapping[str, Any]:
    """Parse the text of a config; `source` is its name in messages. Errors are those of `read_config`."""
    try:
        content = _yaml(text, source) if yaml else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source}: is not valid ({_first_line(error)}); copy or download it again") from None
    if not isinstance(content, Mapping):
        raise ModelError(f"{source}: is not a mapping of names to values, as configs of bundles are")
    _count(content, source)
    return content


def _yaml(text: str, source: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise ModelError(
            f"{source}: the package that reads YAML is not installed; run: pip install pyyaml"
        ) from None

    class Reader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        """Reads plain values, within limits."""

        def flatten_mapping(self, node: Any) -> None:
            """Merge mappings; each merge key can repeat what it names, so that a few lines make any number."""
            super().flatten_mapping(node)
            if len(node.value) > MAX_VALUES:
                raise ValueError(f"a mapping has more than {MAX_VALUES} entries after merging")

        def construct_yaml_int(self, node: Any) -> int:
            """Convert a number; YAML's base 60 takes time that grows with the square of its length."""
            if len(node.value) > MAX_DIGITS:
                raise ValueError(f"a number has more than {MAX_DIGITS} digits")
            return int(super().construct_yaml_int(node))

    Reader.add_constructor("tag:yaml.org,2002:int", Reader.construct_yaml_int)
    try:
        return yaml.load(text, Reader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _count(content: Any, source: str) -> None:
    """Refuse a config with too many values or levels, such as nested aliases that expand to many values."""
    waiting, seen = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            limit = f"{MAX_DEPTH} levels" if depth > MAX_DEPTH else f"{MAX_VALUES} values"
            raise ModelError(
                f"{source}: refused, because it holds more than {limit}; a config of a bundle does not"
            )
        if isinstance(value, Mapping):
            waiting.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            waiting.extend((item, depth + 1) for item in value)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
