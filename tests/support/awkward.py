"""Names with markup, quotes and commas, one voxel, nothing found, 300 labels; and a network for them."""

from __future__ import annotations

import numpy as np

from itk_infer.spec import ModelSpec, parse_spec

MARKUP, ONE, EMPTY, MANY = "<script>alert(1)<b>&", "one voxel", "=nothing", "300 labels"
STEMS = (MARKUP, ONE, EMPTY, MANY)
AWKWARD = ['left "upper", <b>lobe</b>', "=1+1", "a,b;c", "Gänge 肝"]
NAMES = AWKWARD + [f"structure {value}" for value in range(5, 301)]


def images() -> dict[str, np.ndarray]:
    """Values of labels, by stem: labels 1 and 3; 2; none; all."""
    numbers = np.arange(1, 301, dtype=np.int16)
    many = np.zeros((7, 10, 60), np.int16)
    many[1:6, :, :] = np.repeat(numbers.reshape(10, 30), 2, axis=1)
    markup = np.zeros((6, 7, 8), np.int16)
    markup[1:5, 2:5, 1:4], markup[1:5, 2:5, 4:7] = 1, 3
    return {MARKUP: markup, ONE: np.full((1, 1, 1), 2, np.int16), EMPTY: np.zeros((4, 5, 6), np.int16), MANY: many}


def network(windows: np.ndarray) -> np.ndarray:
    """The channel whose number is the voxel's value."""
    channels = np.arange(301, dtype=np.float32)[None, :, None, None, None]
    return -20 * np.abs(windows - channels)


def model_spec(**settings: object) -> ModelSpec:
    """Of that network."""
    labels = [{"value": value, "name": name} for value, name in enumerate(NAMES, 1)]
    return parse_spec({"input": {"orientation": None, **settings}, "output": {"labels": labels}}, "test")
