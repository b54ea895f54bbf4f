"""The window engine of one contender, timed once after a warm-up, in a process and environment of its own.

    python benchmarks/engine_peer.py FOLDER CLASSES CONTENDER THREADS

Prints one JSON object: seconds, peak memory of the process, error and label agreement against the
reference, and for ours the share of time outside the network.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from workload import PATCH, SIZE, STRIDE, forget_peak, network, peak_mib


def nnunet(folder: Path, classes: int, threads: int, array: np.ndarray):
    """Its own predictor over a bare network, mirroring off."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    torch.set_num_threads(threads)
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    net = network(classes)
    net.load_state_dict(torch.load(folder / "network.pth"))
    predictor.network = net
    predictor.configuration_manager = SimpleNamespace(patch_size=PATCH)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=classes)
    predictor.allowed_mirroring_axes = None
    with torch.inference_mode():
        net(torch.zeros(1, 1, *PATCH))
    inputs = torch.from_numpy(array)[None]
    return lambda: predictor.predict_sliding_window_return_logits(inputs).float().numpy()


def monai(folder: Path, classes: int, threads: int, array: np.ndarray):
    """Its sliding_window_inference with Gaussian blending."""
    import torch
    from monai.inferers import sliding_window_inference

    torch.set_num_threads(threads)
    net = network(classes)
    net.load_state_dict(torch.load(folder / "network.pth"))
    inputs = torch.from_numpy(array)[None, None]

    def run():
        with torch.inference_mode():
            return sliding_window_inference(
                inputs, PATCH, 1, net, overlap=0.5, mode="gaussian", sigma_scale=0.125
            )[0].numpy()

    with torch.inference_mode():
        net(torch.zeros(1, 1, *PATCH))
    return run


def ours(provider: str, precision: str):
    def prepare(folder: Path, classes: int, threads: int, array: np.ndarray):
        from itk_infer.engine.segment import segment
        from itk_infer.engine.windows import place_windows
        from itk_infer.model.onnx import OnnxBackend
        from itk_infer.model.sources import Overrides, Sources
        from itk_infer.spec import OutputSpec
        from itk_infer.volume.interpolation import AxisMap, ModelGrid

        sources = Sources(overrides=Overrides(0.0, 1.0))
        backend = OnnxBackend(
            folder / "network.onnx",
            device="cpu",
            provider=provider,
            precision=precision,
            threads=threads,
            sources=sources,
        )
        grid = place_windows(SIZE, PATCH, STRIDE, (1, 1, 1), "gaussian")
        same = ModelGrid(tuple(AxisMap(n, n, 1.0, 0.0) for n in SIZE))
        backend.forward(np.zeros((1, 1, *PATCH), np.float32))

        def run():
            labels, spent = np.empty(SIZE, np.uint8), [0.0]

            def forward(windows):
                start = time.perf_counter()
                logits = backend.forward(windows)
                spent[0] += time.perf_counter() - start
                return logits

            def take(slab):
                labels[slab.z0 : slab.z0 + len(slab.labels)] = slab.labels

            start = time.perf_counter()
            segment(
                array[None], grid, same, forward, OutputSpec(), lambda decision: (take, False), threads=threads
            )
            run.overhead = 1 - spent[0] / (time.perf_counter() - start)
            return labels

        return run

    return prepare


CONTENDERS = {
    "nnunet": nnunet,
    "monai": monai,
    "ours-onnxruntime": ours("cpu", "fp32"),
    "ours-openvino": ours("openvino", "fp32"),
    "ours-openvino-bf16": ours("openvino", "bf16"),
}


def main() -> None:
    folder, classes, name, threads = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    array = np.load(folder / "volume.npy")
    run = CONTENDERS[name](folder, classes, threads, array)
    forget_peak()
    start = time.perf_counter()
    answer = run()
    seconds = time.perf_counter() - start
    peak = peak_mib()
    reference = np.load(folder / "reference.npy", mmap_mode="r")
    expected = np.argmax(reference, axis=0)
    labels = answer if answer.ndim == 3 else np.argmax(answer, axis=0)
    print(
        json.dumps(
            {
                "contender": name,
                "seconds": seconds,
                "peak_mib": peak,
                "agreement": float(np.mean(labels == expected)),
                "largest_error": None if answer.ndim == 3 else float(np.abs(answer - reference).max()),
                "overhead": getattr(run, "overhead", None),
            }
        )
    )


if __name__ == "__main__":
    main()
