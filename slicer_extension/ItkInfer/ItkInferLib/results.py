"""The results of one volume into the scene, and what to say about them."""

from __future__ import annotations

import os
from typing import Any, Tuple

from .command import Unfit
from .measurements import read_measurements
from .story import Case

MOST_SAID = 6


def show_results(scene: Any, case: Case, exported: Any, folder: str) -> Tuple[str, str]:
    """Load the segmentation, its table, and the maps that lie in `folder`.

    Args:
        scene: A `scene.Scene`.
        case: The finished case.
        exported: What `scene.export` gave for it.
        folder: Where maps were written.

    Returns:
        A headline, and a sentence on what was found.

    Raises:
        Unfit: a file cannot be read.
    """
    volume, path = exported.volume, next((path for path in case.outputs if path.endswith(".seg.nrrd")), "")
    if not path:
        raise Unfit("The run ended without a segmentation.")
    name = volume.GetName()
    node = scene.show_result(path, volume, name + " segmentation")
    rows = read_measurements(os.path.dirname(path), case.name, case.volumes_ml)
    scene.show_table(rows, volume, name + " volumes")
    for file in sorted(os.listdir(folder)):
        kind = file[: -len(".nrrd")]
        if kind == "entropy" or kind.startswith("logits_"):
            scene.show_map(os.path.join(folder, file), volume, "%s %s" % (name, kind.replace("_", " ")))
    said = ["%s %.2f ml" % (row.name, row.volume_ml) for row in rows[:MOST_SAID]]
    text = ", ".join(said) + (", \u2026" if len(rows) > MOST_SAID else "") + "."
    if case.confidence is not None:
        text += " Mean confidence %.3f." % case.confidence
    return "Done in %s: %s." % (case.note, node.GetName()), (text + " " + exported.note).strip()
