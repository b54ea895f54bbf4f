"""NumPy arrays in host memory and torch tensors on a device, behind one set of functions.

Code written for both uses the names of the array API standard, through `namespace`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # numpy.ndarray or torch.Tensor


def namespace(array: Array) -> Any:
    """The module with functions for this array, under the names of the array API standard."""
    if isinstance(array, np.ndarray):
        return np
    import array_api_compat

    return array_api_compat.array_namespace(array)


def like(values: NDArray[Any], array: Array) -> Array:
    """Copy a small host array to the device of `array`."""
    if isinstance(array, np.ndarray):
        return values
    import torch

    tensor = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    # A copy from pinned memory is asynchronous; one from other memory waits for all work queued on the device.
    return (tensor.pin_memory() if array.is_cuda else tensor).to(array.device, non_blocking=True)


def at_channel(values: Array, channels: Array) -> Array:
    """One value per voxel: of (C, ...), the channel that whole numbers (...) name."""
    if isinstance(values, np.ndarray):
        return np.take_along_axis(values, channels[None], axis=0)[0]
    return values.gather(0, channels[None].long())[0]


def to_host(array: Array) -> NDArray[Any]:
    """Copy an array to host memory and wait for it. 16-bit floats become float32: NumPy has no bfloat16."""
    if isinstance(array, np.ndarray):
        return array
    if array.is_floating_point() and array.element_size() == 2:
        array = array.float()
    values: NDArray[Any] = array.cpu().numpy()
    return values


def wait_for(array: Array) -> None:
    """Wait until a device has computed the array, by reading one of its elements."""
    float(array[(0,) * array.ndim])
