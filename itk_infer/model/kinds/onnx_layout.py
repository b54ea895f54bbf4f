"""The order of an ONNX network's axes: channels first, as torch exports them, or last, as TensorFlow does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itk_infer.arrays import namespace
from itk_infer.errors import ModelError
from itk_infer.model.backend import Logits, NetworkShape, Windows

FEW = 8  # a last axis of more entries is not taken for channels


@dataclass(frozen=True, slots=True)
class Layout:
    """The axes of a network's input and output, compared with (N, C, Z, Y, X).

    Attributes:
        flat: Whether it is a 2D network, whose axes have no Z.
        last_in: Whether channels are the last axis of the input.
        last_out: Whether channels are the last axis of the declared output.
    """

    flat: bool = False
    last_in: bool = False
    last_out: bool = False

    @property
    def axes(self) -> str:
        """The input's axes, for messages."""
        return _axes(4 if self.flat else 5, self.last_in)

    def given(self, windows: Windows) -> Windows:
        """Convert windows (N, C, Z, Y, X) to the network's axes, contiguous."""
        windows = windows[:, :, 0] if self.flat else windows
        return _moved(windows, 1, -1) if self.last_in else windows

    def answered(self, answer: Logits, windows: Windows) -> Logits:
        """Convert an output to (N, C, Z, Y, X); the engine refuses outputs with another number of axes."""
        if answer.ndim != (4 if self.flat else 5):
            return answer
        if _has_channels_last(tuple(answer.shape), tuple(windows.shape[3 if self.flat else 2 :]), self.last_out):
            answer = _moved(answer, -1, 1)
        return answer[:, :, None] if self.flat else answer

    def network_shape(self, taken: Sequence[Any], given: Sequence[Any], hint: int | None) -> NetworkShape:
        """The sizes that the declared shapes of input and output fix; `hint`: windows per call of the author."""
        batch, *sizes = map(_fixed, taken)
        channels, *spatial = (sizes[-1], *sizes[:-1]) if self.last_in else sizes
        z, y, x = (1, *spatial) if self.flat else spatial
        channels_out = _fixed(given[-1 if self.last_out else 1]) if len(given) == len(taken) else None
        return NetworkShape(channels, channels_out, (z, y, x), batch, hint)


def find_layout(path: Path, taken: Sequence[Any], given: Sequence[Any], channels: int, moved: bool) -> Layout:
    """Determine the layout of a network.

    Args:
        path: The model, for messages.
        taken: Declared shape of its input: numbers, or names or None for free sizes.
        given: Declared shape of its output.
        channels: Number of input channels in the model spec.
        moved: Whether its first operation moves the last axis to the second place.

    Raises:
        ModelError: the input has another number of axes, or the channel axis cannot be determined.
    """
    if len(taken) not in (4, 5):
        raise ModelError(f"{path}: the network's input has shape {list(taken)}; NCZYX (3D) or NCYX (2D) is needed")
    last_in = moved or _is_last(path, taken, given, channels)
    spatial = taken[1:-1] if last_in else taken[2:]
    last_out = len(given) == len(taken) and _has_channels_last(tuple(given), tuple(spatial), last_in)
    return Layout(len(taken) == 4, last_in, last_out)


def _is_last(path: Path, taken: Sequence[Any], given: Sequence[Any], channels: int) -> bool:
    first, last = _fixed(taken[1]), _fixed(taken[-1])
    if first == channels == last:  # both axes have that size; the output's shape may decide
        by_first, by_last = (
            list(spatial) in (list(given[1:-1]), list(given[2:])) for spatial in (taken[2:], taken[1:-1])
        )
        if by_first == by_last:
            names = " or ".join(_axes(len(taken), where) for where in (False, True))
            raise ModelError(
                f"{path}: the network's input has shape {list(taken)}, which may be {names}; "
                "export it with free spatial dimensions, or with a window of more than one voxel along every axis"
            )
        return by_last
    if first == channels or last == channels:
        return first != channels
    # The spec has another number of channels, which is reported where the spec is checked.
    return last is not None and last <= FEW and (first is None or first > last)


def _has_channels_last(shape: tuple[Any, ...], spatial: tuple[Any, ...], preferred: bool) -> bool:
    """Whether only the last axis of an output can be the channels; `preferred` if both axes can be, or none."""
    by_first, by_last = shape[2:] == spatial, shape[1:-1] == spatial
    return preferred if by_first == by_last else by_last


def _moved(array: Windows, source: int, target: int) -> Windows:
    """Move an axis; the result is contiguous."""
    moved = namespace(array).moveaxis(array, source, target)
    return np.ascontiguousarray(moved) if isinstance(moved, np.ndarray) else moved.contiguous()


def _axes(count: int, last: bool) -> str:
    spatial = "Z Y X" if count == 5 else "Y X"
    return f"N {spatial} C" if last else f"N C {spatial}"


def _fixed(dimension: Any) -> int | None:
    return dimension if isinstance(dimension, int) and dimension > 0 else None
