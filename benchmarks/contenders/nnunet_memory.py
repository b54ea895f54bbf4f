"""What the memory of our worker is made of, for a folder of nnU-Net: resident memory, stage by stage.

    python -m contenders.nnunet_memory MODEL IMAGES THREADS

IMAGES is a folder, of whose images the first is run: one fold, no mirroring, on OpenVINO. Prints one JSON object:
stages with their names, what is resident after each, and the most that was resident during it, in MiB.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from contenders.workload import forget_peak, peak_mib

STAGES = (
    "Python and NumPy",
    "SimpleITK, which reads and writes images",
    "OpenVINO",
    "the program and the network's description",
    "the first window: NumPy's answer, compiling, OpenVINO's answer",
    "the case: windows, sums, label map",
)


def main() -> None:
    model, images, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    found = stages(model, min(images.glob("*.nii.gz")), threads)
    if "torch" in sys.modules:
        raise SystemExit("torch was imported: a worker does without")
    print(json.dumps({"stages": found}))


def stages(model: Path, image: Path, threads: int) -> list[dict[str, Any]]:
    """Load and run in the order of `STAGES`."""
    found: list[dict[str, Any]] = []

    def note() -> None:
        peak = peak_mib()
        found.append({"name": STAGES[len(found)], "peak": peak, "after": forget_peak()})

    forget_peak()
    import numpy as np

    note()
    import SimpleITK  # noqa: F401

    note()
    from itk_infer.model.runtimes.openvino import import_openvino

    import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    note()
    from itk_infer import Predictor

    predictor = Predictor.load(
        model, device="cpu", provider="openvino", threads=threads, tta=False, folds=0, orientation="input"
    )
    note()
    inputs = predictor.backend.shape.channels_in or 1
    windows = np.random.default_rng(0).normal(size=(1, inputs, *predictor.window.patch)).astype(np.float32)
    predictor.backend.forward(windows)
    note()
    predictor(image)
    note()
    return found


if __name__ == "__main__":
    main()
