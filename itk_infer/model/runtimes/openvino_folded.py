"""Constants of an OpenVINO network that are computed from other constants, as numbers."""

from __future__ import annotations

import importlib
from typing import Any


def fold_constants(model: Any) -> None:
    """Compute what can be computed without the input of an `openvino.Model`, in place.

    In networks that were traced, axes and the shapes of biases depend on numbers of dimensions.
    """
    passes = importlib.import_module("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
