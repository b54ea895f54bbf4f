"""How near one contender's network and sliding window come to what the processor can do, for a folder of nnU-Net.

    python -m contenders.nnunet_limit MODEL IMAGE CONTENDER THREADS

Prints one JSON object: rates of bare convolutions, of the network alone, and of the whole sliding window. Times
are CPU seconds of the process, so that other programs on the machine count little.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contenders.peak import CHAINS, CHANNELS, SIZE, peak_gflops

BARE = 3  # windows of the network alone, after one that is not timed
REPEATS = 10  # of each chain of convolutions, of torch


def ours(precision: str) -> Callable[[Path, Path, int], dict[str, Any]]:
    """The predictor on OpenVINO; in reduced precision, the network alone, whatever the self-check says of it."""

    def measure(model: Path, image: Path, threads: int) -> dict[str, Any]:
        from itk_infer import Predictor
        from itk_infer.model.kinds.nnunet.kind import build_network
        from itk_infer.model.kinds.nnunet.model import read_model

        predictor = Predictor.load(
            model, device="cpu", provider="openvino", precision=precision, threads=threads, tta=False, folds=0
        )
        backend, inside, forward = predictor.backend, [], predictor.backend.forward
        patch = (1, 1, *predictor.window.patch)
        windows = np.random.default_rng(0).normal(size=patch).astype(np.float32)
        found = {
            "bare": alone(lambda: forward(windows)),
            "window_gflop": convolution_flops(build_network(read_model(model, ("0",))), patch) / 1e9,
            "peak_gflops": peak_gflops("openvino", precision, threads, time.process_time),
        }
        if precision != "fp32":
            return found

        def watched(given: Any) -> Any:
            start = time.process_time()
            answer = forward(given)
            inside.append(time.process_time() - start)
            return answer

        backend.forward = watched  # type: ignore[method-assign]
        start = time.process_time()
        predictor(image)
        return {
            **found,
            "engine": time.process_time() - start,
            "network": sum(inside),
            "windows": len(inside),
        }

    return measure


def nnunet(model: Path, image: Path, threads: int) -> dict[str, Any]:
    """Its own predictor, from the normalised image to half-precision logits."""
    import SimpleITK as sitk
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
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(image))).astype(np.float32)
    data = torch.from_numpy((array - array.mean()) / array.std())[None]
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    patch = (1, 1, *predictor.configuration_manager.patch_size)
    windows = torch.from_numpy(np.random.default_rng(0).normal(size=patch).astype(np.float32))
    network = predictor.network.eval()
    with torch.inference_mode():
        found = {
            "bare": alone(lambda: network(windows)),
            "window_gflop": convolution_flops(network, patch) / 1e9,
            "peak_gflops": torch_peak(),
        }
    inside: list[float] = []
    predict = predictor._internal_maybe_mirror_and_predict

    def watched(given: torch.Tensor) -> torch.Tensor:
        start = time.process_time()
        answer = predict(given)
        inside.append(time.process_time() - start)
        return answer

    predictor._internal_maybe_mirror_and_predict = watched
    start = time.process_time()
    predictor.predict_sliding_window_return_logits(data)
    return {**found, "engine": time.process_time() - start, "network": sum(inside), "windows": len(inside)}


def alone(run: Callable[[], object]) -> float:
    """CPU seconds of one window; the first is not timed: it compiles, and is compared with the original."""
    run()
    times = []
    for _ in range(BARE):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times))


def torch_peak() -> float:
    """Best rate of torch at the convolutions of `peak_gflops`, in GFLOP per CPU second."""
    import torch

    best = 0.0
    values = torch.randn((1, CHANNELS, *SIZE))
    for count in CHAINS:
        chain = torch.nn.Sequential(
            *(torch.nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1, bias=False) for _ in range(count))
        )
        operations = 2 * 27 * CHANNELS * CHANNELS * np.prod(SIZE) * count
        with torch.inference_mode():
            for _ in range(REPEATS):
                start = time.process_time()
                chain(values)
                best = max(best, float(operations) / (time.process_time() - start) / 1e9)
    return best


def convolution_flops(network: Any, shape: tuple[int, ...]) -> int:
    """Operations of all convolutions for one window (N, C, ...), two a multiply-add. Nothing is computed."""
    import copy

    import torch
    from torch import nn

    total = 0

    def add(module: Any, given: tuple[Any, ...], answer: Any) -> None:
        nonlocal total
        transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
        # A voxel of the output needs all weights once; of a transposed convolution, a voxel of the input does.
        total += 2 * (given[0] if transposed else answer)[0, 0].numel() * module.weight.numel()

    twin = copy.deepcopy(network).to("meta")
    for module in twin.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.register_forward_hook(add)
    with torch.no_grad():
        twin(torch.empty(shape, device="meta"))
    return total


CONTENDERS = {"nnunet": nnunet, "ours": ours("fp32"), "ours-bf16": ours("bf16")}


def main() -> None:
    model, image, name, threads = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    print(json.dumps(CONTENDERS[name](model, image, threads)))


if __name__ == "__main__":
    main()
