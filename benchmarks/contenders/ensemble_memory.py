"""The memory that an ensemble needs: one case in this process, networks that only multiply.

python -m contenders.ensemble_memory MEMBERS same|different DEPTH
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from contenders.workload import forget_peak, peak_mib

CHANNELS, PATCH, PLANE = 8, 64, 256
SPACINGS = {"same": (1.0, 1.0, 1.0, 1.0), "different": (1.0, 1.3, 0.9, 1.6)}
MIB = 2**20


def member(number: int, spacing: float) -> Any:
    """A backend whose channels are multiples of its input."""
    from itk_infer.model.backend import NetworkShape
    from itk_infer.model.kinds.fake import FakeBackend
    from itk_infer.spec import parse_spec

    spec = parse_spec(
        {
            "spec": 1,
            "name": f"member {number}",
            "input": {"spacing": [spacing] * 3, "intensity": [{"op": "zscore"}]},
            "window": {"patch_size": [PATCH] * 3},
            "output": {"labels": [{"value": value} for value in range(1, CHANNELS)]},
        },
        "the bench",
    )
    factors = np.random.default_rng(number).random((CHANNELS, 1, 1, 1), np.float32)
    return FakeBackend(lambda windows: windows[:, :1] * factors, spec, NetworkShape(channels_out=CHANNELS))


def main(members: int, grids: str, depth: int) -> dict[str, Any]:
    import SimpleITK as sitk

    from itk_infer.model.ensemble import Ensemble
    from itk_infer.predictor import Predictor
    from itk_infer.volume.grid import Grid

    backends = [member(number, SPACINGS[grids][number]) for number in range(members)]
    names = [backend.spec.name for backend in backends]
    predictor = Predictor(backends[0] if members == 1 else Ensemble(backends, names))
    predictor(sitk.GetImageFromArray(np.zeros((8, 16, 16), np.int16)))  # imports what a case needs
    voxels = np.random.default_rng(0).integers(0, 1000, (depth, PLANE, PLANE)).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    plan = predictor.plan(Grid((depth, PLANE, PLANE), (1.0, 1.0, 1.0)), 2)
    works = [each.work for each in (plan, *plan.beside)]
    before = forget_peak()
    predictor(image)
    return {
        "peak_mib": peak_mib() - before,
        "image_mib": (works[0].shared + sum(work.floats for work in works)) / MIB,
        "rings_mib": sum(work.accumulator for work in works) / MIB,
        "planned_mib": plan.memory.peak / MIB,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
