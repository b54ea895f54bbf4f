"""Formulas of saliency maps, from a feature map and its gradient.

``z`` is the logit that is explained, ``A`` (N, C, h, w) the feature map, ``G`` its gradient dz/dA of the same
shape, or of shape (N, C, 1, 1) if it is constant. All arrays are float64.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

METHODS: Final = ("input_grad", "gradcam", "gradcampp", "occlusion")
TITLES: Final = {
    "input_grad": "input gradient",
    "gradcam": "Grad-CAM",
    "gradcampp": "Grad-CAM++",
    "occlusion": "occlusion",
}

Floats = NDArray[np.float64]


def input_gradient(gradient: Floats) -> Floats:
    """Mean over channels of |dz/dx|, (N, C, H, W) to (N, H, W).

    Simonyan et al., arXiv 1312.6034, take the maximum over channels; the mean is that of the RSNA 2019 panels.
    """
    mean: Floats = np.abs(gradient).mean(axis=1)
    return mean


def grad_cam(features: Floats, gradient: Floats) -> Floats:
    """ReLU(sum over channels of a A), a = mean of G over rows and columns; (N, h, w).

    Selvaraju et al., arXiv 1610.02391, equations 1 and 2.
    """
    weights = gradient.mean(axis=(2, 3), keepdims=True)
    return _rectified_sum(weights, features)


def grad_cam_plus(features: Floats, gradient: Floats) -> Floats:
    """ReLU(sum of w A), w = sum of a ReLU(G), a = G^2 / (2 G^2 + sum(A) G^3), 0 where G is 0; (N, h, w).

    Chattopadhay et al., arXiv 1710.11063, equation 19.
    """
    gradient = np.broadcast_to(gradient, features.shape)
    below = 2 * gradient**2 + features.sum(axis=(2, 3), keepdims=True) * gradient**3
    alpha = np.divide(gradient**2, below, out=np.zeros_like(features), where=(gradient != 0) & (below != 0))
    weights = (alpha * np.maximum(gradient, 0.0)).sum(axis=(2, 3), keepdims=True)
    return _rectified_sum(weights, features)


def _rectified_sum(weights: Floats, features: Floats) -> Floats:
    summed: Floats = (weights * features).sum(axis=1)
    return np.maximum(summed, 0.0)


def normalised(maps: NDArray[np.floating]) -> NDArray[np.float32]:
    """Each map (…, h, w) divided by its largest value, 0 to 1; a map without a positive value becomes zeros."""
    maps = np.asarray(maps, np.float64)
    largest = maps.max(axis=(-2, -1), keepdims=True)
    scaled = np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)
    clipped: NDArray[np.float32] = np.clip(scaled, 0.0, 1.0).astype(np.float32)
    return clipped


def resized(image: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate a map (h, w) bilinearly to `size` (rows, columns), without aligned corners."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)
