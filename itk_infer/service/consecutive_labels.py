"""Label maps with values 1 to N: clients of MONAI Label assign the value i to the i-th name of a response."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.service.refusal import Refusal
from itk_infer.volume.formats.nrrd import check_header
from itk_infer.volume.formats.stream import verified_digest

MOST = 255


def consecutive(labels: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Names with the values 1 to N, in the order of the model's own values, without background.

    Raises:
        Refusal: there are more than `MOST` labels.
    """
    foreground = sorted((label for label in labels if label["value"] > 0), key=lambda label: int(label["value"]))
    if len(foreground) > MOST:
        raise Refusal(
            "invalid", f"the model has {len(foreground)} labels, more than the {MOST} that a client takes"
        )
    return {label["name"]: number for number, label in enumerate(foreground, 1)}


def renumbered(path: Path, values: Sequence[int]) -> bytes:
    """Renumber a label map: the i-th of `values` (from 0) becomes i + 1, all other values 0.

    Args:
        path: An NRRD file that this program has written.
        values: Values of its labels, ascending.

    Returns:
        An uncompressed NRRD file of uint8.
    """
    layout = check_header(path)
    voxels = bytearray()
    verified_digest(path, layout, voxels)
    stored = np.frombuffer(voxels, layout.dtype)
    table = np.zeros(1 + max((*values, int(stored.max(initial=0)))), np.uint8)
    table[list(values)] = np.arange(1, len(values) + 1)
    grid, (z, y, x) = layout.grid, layout.size
    lines = ["NRRD0004", "type: uint8", "dimension: 3", f"sizes: {x} {y} {z}", "encoding: raw"]
    if grid is not None:
        axes = np.array(grid.direction_xyz).reshape(3, 3).T * np.array(grid.spacing[::-1])[:, None]
        lines += [
            "space: left-posterior-superior",
            f"space directions: {' '.join(map(_vector, axes.tolist()))}",
            f"space origin: {_vector(grid.origin_xyz)}",
            "kinds: domain domain domain",
        ]
    renumbered_voxels: bytes = table[stored].tobytes()
    return "\n".join([*lines, "", ""]).encode() + renumbered_voxels


def _vector(numbers: Sequence[float]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
