"""A short training, so that the network of the folder benchmark answers as trained networks do.

With random weights most voxels are near ties, and no format but fp32 can give the same labels; no one
segments with such a network. A few minutes on one CT with labels are enough for clear answers. It is no
useful model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contenders.workload import PATCH, network

STEPS = 200
CLIP, MEAN, STD = (-1000.0, 400.0), -50.0, 280.0


def normalise(array: np.ndarray) -> np.ndarray:
    """CT numbers as the network takes them."""
    return ((np.clip(array.astype(np.float32), *CLIP) - MEAN) / STD).astype(np.float32)


def trained(image: Path, labels: Path, classes: int, spacing: tuple[float, float, float]):
    """A network for background and the largest labels of one CT.

    Args:
        image: A CT.
        labels: Its label map.
        classes: Of the network.
        spacing: Z Y X, of the grid that it works on.
    """
    import SimpleITK as sitk
    import torch
    from scipy.ndimage import zoom

    stored = sitk.ReadImage(str(image))
    factors = [old / new for old, new in zip(stored.GetSpacing()[::-1], spacing, strict=True)]
    array = zoom(normalise(sitk.GetArrayFromImage(stored)), factors, order=1, mode="nearest", grid_mode=True)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    values, counts = np.unique(found, return_counts=True)
    largest = values[np.argsort(-counts)][:classes]
    target = np.zeros(found.shape, np.uint8)
    for number, value in enumerate(largest):
        target[found == value] = number
    target = zoom(target, factors, order=0, mode="nearest", grid_mode=True)
    pads = [(0, max(0, p - n)) for p, n in zip(PATCH, array.shape, strict=True)]
    array, target = np.pad(array, pads, mode="edge"), np.pad(target, pads, mode="edge")

    net = network(classes).train()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    loss = torch.nn.CrossEntropyLoss()
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        where = tuple(
            slice(o, o + p)
            for o, p in ((int(rng.integers(n - p + 1)), p) for n, p in zip(array.shape, PATCH, strict=True))
        )
        logits = net(torch.from_numpy(array[where].copy())[None, None])
        value = loss(logits, torch.from_numpy(target[where].astype(np.int64))[None])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        if step % 20 == 0 or step == STEPS - 1:
            print(f"  training step {step + 1} of {STEPS}, loss {value.item():.3f}", flush=True)
    return net.eval()
