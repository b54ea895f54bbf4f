"""Loads the results of one volume into the scene, and summarises them."""

from __future__ import annotations

import os
from typing import Any, Tuple

from .command import InvalidChoice
from .measurements import read_measurements
from .run_state import Case

MAX_LISTED = 6


def show_results(scene: Any, case: Case, exported: Any, folder: str) -> Tuple[str, str]:
    """Load the segmentation, its table, and the maps in `folder`.

    Args:
        scene: A `scene.Scene`.
        case: The finished case.
        exported: The result of `scene.export` for the volume.
        folder: Folder of the maps.

    Returns:
        A headline, and a sentence with the volumes.

    Raises:
        InvalidChoice: a file cannot be read.
    """
    volume, path = exported.volume, next((path for path in case.outputs if path.endswith(".seg.nrrd")), "")
    if not path:
        raise InvalidChoice("The run ended without a segmentation.")
    name = volume.GetName()
    node = scene.show_result(path, volume, name + " segmentation")
    rows = read_measurements(os.path.dirname(path), case.name, case.volumes_ml)
    scene.show_table(rows, volume, name + " volumes")
    for file in sorted(os.listdir(folder)):
        kind = file[: -len(".nrrd")]
        if kind == "entropy" or kind.startswith("logits_"):
            scene.show_map(os.path.join(folder, file), volume, "%s %s" % (name, kind.replace("_", " ")))
    listed = ["%s %.2f ml" % (row.name, row.volume_ml) for row in rows[:MAX_LISTED]]
    text = ", ".join(listed) + (", \u2026" if len(rows) > MAX_LISTED else "") + "."
    if case.confidence is not None:
        text += " Mean confidence %.3f." % case.confidence
    return "Done in %s: %s." % (case.note, node.GetName()), (text + " " + exported.note).strip()
