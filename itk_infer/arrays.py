"""Arrays of either kind: NumPy's in host memory, torch's on a device.

What is written once for both uses the names of the array API standard, through `namespace`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # numpy.ndarray or torch.Tensor


def namespace(array: Array) -> Any:
    """The module whose functions take this array, with the names of the array API standard."""
    if isinstance(array, np.ndarray):
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def like(values: NDArray[Any], array: Array) -> Array:
    """A small host array where `array` is."""
    if isinstance(array, np.ndarray):
        return values
    import torch

    tensor = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    # From pinned memory a copy waits for nothing; from other memory it waits for all that the device has to do.
    return (tensor.pin_memory() if array.is_cuda else tensor).to(array.device, non_blocking=True)


def to_host(array: Array) -> NDArray[Any]:
    """The array in host memory; waits for the device. NumPy knows no bfloat16: that comes as float32."""
    if isinstance(array, np.ndarray):
        return array
    if array.is_floating_point() and array.element_size() == 2:
        array = array.float()
    found: NDArray[Any] = array.cpu().numpy()
    return found


def wait_for(array: Array) -> None:
    """Return once a device has computed the array: one of its numbers is looked at."""
    float(array[(0,) * array.ndim])
