"""One volume to a label map in host memory, by each contender: itk_infer, MONAI, and the bare network.

All run the same network object's weights, windows and precision; time starts with the volume in host memory.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import PlainUNet

CONFIG = """
custom_imports = dict(imports=["network"])
model = dict(type="Segmentor3D", network=dict(type="PlainUNet", classes={classes}, features={features}))
itk_infer = dict(spec=1, input=dict(orientation=None), window=dict(patch_size={patch}, patch_stride={stride}))
"""
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Setting:
    """What every contender does.

    Attributes:
        device: As torch names it.
        size: Of the volume, Z Y X.
        patch: Of a window, Z Y X; windows overlap by half.
        features: Channels of the network per stage.
    """

    device: str
    size: tuple[int, int, int]
    patch: tuple[int, int, int]
    features: tuple[int, ...]

    @property
    def stride(self) -> tuple[int, ...]:
        """Half a window."""
        return tuple(n // 2 for n in self.patch)

    @property
    def origins(self) -> list[tuple[int, int, int]]:
        """First voxels of all windows."""
        axes = [range(0, n - p + 1, s) for n, p, s in zip(self.size, self.patch, self.stride, strict=True)]
        return list(itertools.product(*axes))

    def volume(self) -> np.ndarray:
        """Smooth structures and noise, (Z, Y, X) float32, mean 0, deviation 1."""
        rng = np.random.default_rng(0)
        coarse = rng.normal(size=tuple(-(-n // 16) for n in self.size)).astype(np.float32)
        array = np.kron(coarse, np.ones((16, 16, 16), np.float32))[tuple(slice(n) for n in self.size)]
        array = array + 0.3 * rng.standard_normal(self.size, np.float32)
        return (array - array.mean()) / array.std()

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def arithmetic(self, precision: str) -> Iterator[None]:
        """Inference in this precision, the best kernels looked for once, no TF32."""
        half = HALF.get(precision)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.partition(":")[0], half, enabled=half is not None),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
        ):
            yield

    def network(self, classes: int) -> PlainUNet:
        """The network on the device."""
        return PlainUNet(classes, self.features).to(self.device).eval().requires_grad_(False)


class Ours:
    """itk_infer as a user runs it: `Predictor.from_mmengine`, label map out. Measures confidence as well."""

    def __init__(self, setting: Setting, classes: int, precision: str, batch: int | str) -> None:
        from itk_infer.networks import Segmentor3D
        from itk_infer.predictor import Predictor

        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        values = {"classes": classes, "features": list(setting.features)}
        values |= {"patch": list(setting.patch), "stride": list(setting.stride)}
        (folder / "net.py").write_text(CONFIG.format(**values))
        torch.save(Segmentor3D(PlainUNet(classes, setting.features)).state_dict(), folder / "net.pth")
        self.predictor = Predictor.from_mmengine(
            folder / "net.py",
            folder / "net.pth",
            device=setting.device,
            provider="cpu" if setting.device == "cpu" else "auto",
            precision=precision if setting.device != "cpu" else "fp32",
            orientation="input",
            batch=batch,
            batch_cache=False,
        )
        # Random weights leave classes nearly tied, so the precision check would settle for fp32; agreement is
        # measured beside instead.
        self.predictor.model.precision_checked = True
        self.seconds: dict[str, float] = {}
        self.notes: tuple[str, ...] = ()

    def __call__(self, array: np.ndarray) -> np.ndarray:
        from itk_infer.volume.grid import Grid
        from itk_infer.volume.volume import Volume

        labels = LabelArray(array.shape)
        volume = Volume(array[None], Grid(array.shape, (1.0, 1.0, 1.0)), "the volume")
        measured = self.predictor.run(volume, lambda frame: [labels])
        self.seconds, self.notes = measured.seconds, measured.warnings
        return labels.array


class LabelArray:
    """A sink that keeps the labels in memory."""

    needs_logits = False

    def __init__(self, size: tuple[int, ...]) -> None:
        self.array = np.empty(size, np.uint8)

    def write(self, slab: Any) -> None:
        """Take one slab."""
        self.array[slab.z0 : slab.z0 + len(slab.labels)] = slab.labels

    def commit(self) -> None:
        """Nothing to write."""

    def abort(self) -> None:
        """Nothing to undo."""


def monai(setting: Setting, classes: int, precision: str, batch: int) -> Callable[[np.ndarray], np.ndarray]:
    """MONAI's sliding_window_inference, everything on the device, then argmax there."""
    from monai.inferers import sliding_window_inference

    network = setting.network(classes)

    def run(array: np.ndarray) -> np.ndarray:
        with setting.arithmetic(precision):
            inputs = torch.from_numpy(array).to(setting.device)[None, None]
            logits = sliding_window_inference(
                inputs, setting.patch, batch, network, overlap=0.5, mode="gaussian", sigma_scale=0.125
            )
            return logits[0].argmax(dim=0).to(torch.uint8).cpu().numpy()

    return run


def bare(setting: Setting, classes: int, precision: str, batch: int) -> Callable[[np.ndarray], None]:
    """The network on as many windows, nothing else: no contender can be faster with this network."""
    network = setting.network(classes)

    def run(array: np.ndarray) -> None:
        windows = torch.zeros((batch, 1, *setting.patch), device=setting.device)
        layers = (array.shape[0] - setting.patch[0]) // setting.stride[0] + 1
        count = len(setting.origins) // ((setting.size[0] - setting.patch[0]) // setting.stride[0] + 1) * layers
        with setting.arithmetic(precision):
            for _ in range(-(-count // batch)):
                network(windows)

    return run


def reference(setting: Setting, classes: int, array: np.ndarray) -> np.ndarray:
    """Labels of fp32 windows, blended with unnormalised Gaussian weights: another way to the same sums."""
    network = setting.network(classes)
    axes = [torch.arange(p, dtype=torch.float64) - (p - 1) / 2 for p in setting.patch]
    profiles = [torch.exp(-0.5 * (a / (p / 8)) ** 2) for a, p in zip(axes, setting.patch, strict=True)]
    weights = torch.einsum("z,y,x->zyx", *profiles).float().to(setting.device)
    sums = torch.zeros((classes, *setting.size), device=setting.device)
    inputs = torch.from_numpy(array).to(setting.device)
    with setting.arithmetic("fp32"):
        for origin in setting.origins:
            where = tuple(slice(o, o + p) for o, p in zip(origin, setting.patch, strict=True))
            sums[(slice(None), *where)] += network(inputs[where][None, None])[0].float() * weights
        return sums.argmax(dim=0).to(torch.uint8).cpu().numpy()  # the sum of weights divides all classes alike


def variants(setting: Setting, classes: int, precision: str, left: Callable[[], float]) -> dict[str, Any]:
    """Milliseconds per window of the bare network: batch sizes, memory layouts, CUDA graphs, torch.compile."""
    import time

    rows: dict[str, Any] = {}

    def measure(name: str, network: Any, batch: int, layout: Any, graph: bool = False, needs: float = 10) -> None:
        if left() < needs:
            rows[name] = {"skipped": "no time left"}
            return
        windows = torch.randn((batch, 1, *setting.patch), device=setting.device).to(memory_format=layout)
        began = time.perf_counter()
        try:
            with setting.arithmetic(precision):
                for _ in range(2):
                    network(windows)
                call = (lambda: network(windows)) if not graph else _graph(network, windows)
                setting.wait()
                ready = time.perf_counter() - began
                times = []
                for _ in range(6):
                    began = time.perf_counter()
                    call()
                    setting.wait()
                    times.append(time.perf_counter() - began)
        except Exception as error:
            rows[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            return
        rows[name] = {"ms_per_window": 1e3 * float(np.median(times)) / batch, "seconds_to_prepare": ready}

    contiguous, last = torch.contiguous_format, torch.channels_last_3d
    network = setting.network(classes)
    for batch in (1, 2, 4):
        measure(f"eager, {batch} per call", network, batch, contiguous)
    if setting.device != "cpu":
        measure("CUDA graph, 1 per call", network, 1, contiguous, graph=True)
    network = network.to(memory_format=last)
    for batch in (1, 2):
        measure(f"channels_last_3d, {batch} per call", network, batch, last)
    for name, module, batch, layout in (
        ("channels_last_3d, torch.compile, 1 per call", network, 1, last),
        ("channels_last_3d, torch.compile, 2 per call", network, 2, last),
        ("torch.compile, 2 per call", setting.network(classes), 2, contiguous),
    ):
        measure(name, torch.compile(module), batch, layout, needs=45)
        torch.compiler.reset()
    return rows


def _graph(network: Any, windows: torch.Tensor) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(windows)
    return graph.replay
