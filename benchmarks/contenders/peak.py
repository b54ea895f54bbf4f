"""The practical peak of a runtime: its best rate at 3x3x3 convolutions, 32 to 32 channels, at 64^3."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CHANNELS, SIZE, REPEATS = 32, (64, 64, 64), 20
CHAINS = (1, 6)  # convolutions in a row: one pays for the change of memory layout, six share it


def convolutions(path: Path, count: int) -> None:
    """A network of convolutions only."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for index in range(count):
        values = rng.normal(0, (CHANNELS * 27) ** -0.5, (CHANNELS, CHANNELS, 3, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{index}"))
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"x{index + 1}"], pads=[1] * 6))
    shape = (1, CHANNELS, *SIZE)
    given = helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)
    taken = helper.make_tensor_value_info(f"x{count}", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "convolutions", [given], [taken], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def peak_gflops(
    provider: str, precision: str, threads: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Best rate over single runs of all chains, in GFLOP per second of the clock."""
    from itk_infer.model.kinds.onnx import OnnxBackend
    from itk_infer.model.spec_sources import SpecSources
    from itk_infer.options import Options

    best = 0.0
    windows = np.random.default_rng(0).normal(size=(1, CHANNELS, *SIZE)).astype(np.float32)
    for count in CHAINS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "convolutions.onnx"
            convolutions(path, count)
            backend = OnnxBackend(
                path,
                device="cpu",
                provider=provider,
                precision=precision,
                threads=threads,
                sources=SpecSources(overrides=Options(window_level=0.0, window_width=1.0)),
            )
            operations = 2 * 27 * CHANNELS * CHANNELS * np.prod(SIZE) * count
            for _ in range(REPEATS):
                start = clock()
                backend.forward(windows)
                best = max(best, operations / (clock() - start) / 1e9)
    return best
