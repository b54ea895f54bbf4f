"""The work every contender does: one network, one volume, one set of windows.

    python -m contenders.workload FOLDER CLASSES

writes ``network.pth`` and ``network.onnx`` (the PlainConvUNet of nnU-Net, 32 to 320 channels, random
weights of a fixed seed), ``volume.npy``, and ``reference_*.npy`` (fp32 windows blended in float64 with
the weights of each tool).
"""

from __future__ import annotations

import functools
import itertools
import sys
from pathlib import Path

import numpy as np

PATCH = (64, 64, 64)
STRIDE = (32, 32, 32)
SIZE = (160, 192, 192)  # every size minus patch is a multiple of half the patch: all tools place the same windows


KINDS = ("exact", "nnunet", "monai")
FEATURES = (32, 64, 128, 256, 320)


def network(classes: int, features: tuple[int, ...] = FEATURES):
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    torch.manual_seed(0)
    return PlainConvUNet(
        1,
        len(features),
        features,
        torch.nn.Conv3d,
        3,
        [1] + [2] * (len(features) - 1),
        2,
        classes,
        2,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    ).eval()


def volume() -> np.ndarray:
    """Smooth structures with noise, mean 0, deviation 1, (Z, Y, X) float32."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=tuple(n // 16 for n in SIZE))
    array = np.kron(coarse, np.ones((16, 16, 16))) + 0.3 * rng.normal(size=SIZE)
    return ((array - array.mean()) / array.std()).astype(np.float32)


@functools.cache
def weights(kind: str) -> np.ndarray:
    """How voxels of a window count where windows overlap, (Z, Y, X) float64.

    Args:
        kind: ``exact``: a Gaussian round the centre of the window, as ours; ``monai``: the same above a
            floor of 0.001; ``nnunet``: round the voxel behind the centre, cut off at four deviations, as
            nnU-Net's is.
    """
    if kind == "nnunet":
        from scipy.ndimage import gaussian_filter

        found = np.zeros(PATCH)
        found[tuple(p // 2 for p in PATCH)] = 1
        found = gaussian_filter(found, [p / 8 for p in PATCH], mode="constant")
        found[found == 0] = found[found > 0].min()
        return found
    found = np.einsum("z,y,x->zyx", *(gaussian(p) for p in PATCH))
    return np.maximum(found, 1e-3) if kind == "monai" else found


def gaussian(patch: int) -> np.ndarray:
    offsets = np.arange(patch) - (patch - 1) / 2
    return np.exp(-0.5 * (offsets / (patch / 8)) ** 2)


def origins() -> list[tuple[int, int, int]]:
    axes = [range(0, n - p + 1, s) for n, p, s in zip(SIZE, PATCH, STRIDE, strict=True)]
    return list(itertools.product(*axes))


def forget_peak() -> float:
    """Start the high-water mark of this process anew; returns what it holds now, in MiB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """High-water mark of resident memory since `forget_peak`, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def export_onnx(net, path: Path) -> None:
    """Windows of one size, any number of them a call."""
    import torch

    torch.onnx.export(
        net,
        (torch.zeros(1, 1, *PATCH),),
        path,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        verbose=False,
    )


def blended(net, array: np.ndarray, classes: int, kinds: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Logits of all windows, fp32 windows blended in float64 with each kind of `weights`, (C, Z, Y, X) float64."""
    import torch

    totals = {kind: np.zeros((classes, *SIZE)) for kind in kinds}
    counts = {kind: np.zeros(SIZE) for kind in kinds}
    with torch.inference_mode():
        for origin in origins():
            where = tuple(slice(o, o + p) for o, p in zip(origin, PATCH, strict=True))
            logits = net(torch.from_numpy(array[where].copy())[None, None])[0].numpy()
            for kind in kinds:
                weight = weights(kind)
                totals[kind][(slice(None), *where)] += logits * weight
                counts[kind][where] += weight
    for kind in kinds:
        totals[kind] /= counts[kind]
    return totals


def make(folder: Path, classes: int) -> None:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    net = network(classes)
    torch.save(net.state_dict(), folder / "network.pth")
    export_onnx(net, folder / "network.onnx")
    array = volume()
    np.save(folder / "volume.npy", array)
    for kind, logits in blended(net, array, classes, KINDS).items():
        np.save(folder / f"reference_{kind}.npy", logits.astype(np.float32))


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
