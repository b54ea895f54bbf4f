"""The window engine of one contender, timed once after a warm-up, in a process and environment of its own.

    python -m contenders.engine FOLDER CLASSES CONTENDER THREADS

Prints one JSON object: seconds, peak memory of the process, error and label agreement against the
reference. For ours also the time inside the network, the time of the bare network, and the rate of
bare convolutions in the same runtime.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from contenders.flops import convolution_flops
from contenders.peak import peak_gflops
from contenders.workload import PATCH, SIZE, STRIDE, forget_peak, network, origins, peak_mib

BARE = 12  # windows of the bare forward loop


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
    predictor.network = loaded(folder, classes)
    predictor.configuration_manager = SimpleNamespace(patch_size=PATCH)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=classes)
    predictor.allowed_mirroring_axes = None
    inputs = torch.from_numpy(array)[None]
    return lambda: predictor.predict_sliding_window_return_logits(inputs).float().numpy()


def monai(equal: bool):
    """Its sliding_window_inference, with its own Gaussian weights or, where `equal`, with nnU-Net's."""

    def prepare(folder: Path, classes: int, threads: int, array: np.ndarray):
        import torch
        from monai.inferers import sliding_window_inference

        torch.set_num_threads(threads)
        net = loaded(folder, classes)
        inputs = torch.from_numpy(array)[None, None]
        weights = None
        if equal:
            from nnunetv2.inference.sliding_window_prediction import compute_gaussian

            weights = compute_gaussian(PATCH, 1 / 8, 10, dtype=torch.float32, device=torch.device("cpu"))

        def run():
            with torch.inference_mode():
                return sliding_window_inference(
                    inputs, PATCH, 1, net, overlap=0.5, mode="gaussian", sigma_scale=0.125, roi_weight_map=weights
                )[0].numpy()

        return run

    return prepare


def loaded(folder: Path, classes: int):
    """The network with the common weights, warm."""
    import torch

    net = network(classes)
    net.load_state_dict(torch.load(folder / "network.pth"))
    with torch.inference_mode():
        net(torch.zeros(1, 1, *PATCH))
    return net


def ours(provider: str, precision: str):
    def prepare(folder: Path, classes: int, threads: int, array: np.ndarray):
        from itk_infer.engine.host import HostWorkspace
        from itk_infer.engine.segment import Opened, segment
        from itk_infer.engine.windows import place_windows
        from itk_infer.model.kinds.onnx import OnnxBackend
        from itk_infer.model.spec_sources import SpecSources
        from itk_infer.options import Options
        from itk_infer.spec import OutputSpec
        from itk_infer.volume.interpolation import AxisMap, ModelGrid

        backend = OnnxBackend(
            folder / "network.onnx",
            device="cpu",
            provider=provider,
            precision=precision,
            threads=threads,
            sources=SpecSources(overrides=Options(window_level=0.0, window_width=1.0)),
        )
        grid = place_windows(SIZE, PATCH, STRIDE, (1, 1, 1), "gaussian")
        same = ModelGrid(tuple(AxisMap(n, n, 1.0, 0.0) for n in SIZE))
        backend.forward(np.zeros((1, 1, *PATCH), np.float32))
        spent = [0.0]

        def forward(windows):
            start = time.perf_counter()
            logits = backend.forward(windows)
            spent[0] += time.perf_counter() - start
            return logits

        def run():
            labels = np.empty(SIZE, np.uint8)

            def take(slab):
                labels[slab.z0 : slab.z0 + len(slab.labels)] = slab.labels

            segment(
                array[None],
                grid,
                same,
                forward,
                OutputSpec(),
                lambda decision: Opened(take),
                workspace=HostWorkspace(threads),
            )
            return labels

        def more():
            """After the run, so that it disturbs neither its time nor its memory."""
            inside = spent[0]
            times = []
            for z, y, x in origins()[:: len(origins()) // BARE][:BARE]:
                window = array[z : z + PATCH[0], y : y + PATCH[1], x : x + PATCH[2]]
                window = np.ascontiguousarray(window)[None, None]
                start = time.perf_counter()
                backend.forward(window)
                times.append(time.perf_counter() - start)
            return {
                "windows": len(origins()),
                "network_seconds": inside,
                "bare_seconds": float(np.median(times)) * len(origins()),
                "window_gflop": convolution_flops(folder / "network.onnx", PATCH) / 1e9,
                "peak_gflops": peak_gflops(provider, precision, threads),
            }

        run.more = more
        return run

    return prepare


BLENDED = {"nnunet": "nnunet", "monai-equal": "nnunet", "monai": "monai"}  # the others exactly
CONTENDERS = {
    "nnunet": nnunet,
    "monai": monai(equal=False),
    "monai-equal": monai(equal=True),
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
    reference = np.load(folder / f"reference_{BLENDED.get(name, 'exact')}.npy", mmap_mode="r")
    expected = np.argmax(reference, axis=0)
    labels = answer if answer.ndim == 3 else np.argmax(answer, axis=0)
    found = {
        "seconds": seconds,
        "peak_mib": peak,
        "agreement": float(np.mean(labels == expected)),
        "largest_error": None if answer.ndim == 3 else float(np.abs(answer - reference).max()),
        **(run.more() if hasattr(run, "more") else {}),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
