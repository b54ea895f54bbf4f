"""Converts the logits of a case to volumes for Slicer. Run by the Python of an environment, never by Slicer's.

``python maps.py CASE.zarr FOLDER argmax|threshold entropy|all`` writes ``entropy.nrrd``, the uncertainty of
each voxel from 0 to 1, and with ``all`` one ``logits_<channel>.nrrd`` for each channel.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def entropy(logits: np.ndarray, decision: str, values: str) -> np.ndarray:
    """The entropy of a decision (Shannon entropy), divided by its maximum.

    Args:
        logits: (C, Z, Y, X), float16 or float32.
        decision: ``argmax``: over the channels; ``threshold``: of the least certain channel.
        values: ``logits`` or ``probabilities``.

    Returns:
        (Z, Y, X), float32, 0 (certain) to 1 (all classes equally likely).
    """
    result = np.empty(logits.shape[1:], np.float32)
    for z in range(len(result)):  # plane by plane: the whole in float32 may be large
        plane = logits[:, z].astype(np.float32)
        if decision == "threshold":
            p = plane if values == "probabilities" else 0.5 * (1.0 + np.tanh(0.5 * plane))
            p = np.clip(p, 1e-7, 1.0 - 1e-7)
            result[z] = (-(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))).max(axis=0)
            continue
        if values != "probabilities":
            plane = np.exp(plane - plane.max(axis=0))
        p = np.clip(plane / plane.sum(axis=0), 1e-7, 1.0)
        result[z] = -(p * np.log(p)).sum(axis=0) / np.log(len(p))
    return np.clip(result, 0.0, 1.0)


def main(source: str, folder: str, decision: str, which: str) -> None:
    """Write the volumes."""
    import SimpleITK as sitk
    import zarr

    from itk_infer.outputs.logits import read_logits

    logits, grid = read_logits(Path(source))
    values = dict(zarr.open_array(source, mode="r").attrs["about"]).get("values", "logits")
    arrays = {"entropy": entropy(logits, decision, values)}
    if which == "all":
        arrays.update(
            ("logits_%d" % channel, logits[channel].astype(np.float32)) for channel in range(len(logits))
        )
    for name, array in arrays.items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing([float(step) for step in reversed(grid.spacing)])
        image.SetOrigin([float(part) for part in grid.origin_xyz])
        image.SetDirection([float(part) for part in grid.direction_xyz])
        sitk.WriteImage(image, str(Path(folder) / (name + ".nrrd")), useCompression=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
