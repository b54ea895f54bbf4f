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

FEW = 8  # a last axis of more is no channel axis


@dataclass(frozen=True, slots=True)
class Layout:
    """Between windows (N, C, Z, Y, X) and what a network takes and answers.

    Attributes:
        flat: Whether it is a 2D network, without Z.
        last_in: Whether its input has the channels last.
        last_out: Whether its answer is declared so.
    """

    flat: bool = False
    last_in: bool = False
    last_out: bool = False

    @property
    def axes(self) -> str:
        """The input's axes, for messages."""
        return _axes(4 if self.flat else 5, self.last_in)

    def given(self, windows: Windows) -> Windows:
        """Windows as the network takes them, contiguous."""
        windows = windows[:, :, 0] if self.flat else windows
        return _moved(windows, 1, -1) if self.last_in else windows

    def answered(self, answer: Logits, windows: Windows) -> Logits:
        """The network's answer as (N, C, Z, Y, X); one of another shape is left for the engine to refuse."""
        if answer.ndim != (4 if self.flat else 5):
            return answer
        if _has_channels_last(tuple(answer.shape), tuple(windows.shape[3 if self.flat else 2 :]), self.last_out):
            answer = _moved(answer, -1, 1)
        return answer[:, :, None] if self.flat else answer

    def network_shape(self, taken: Sequence[Any], given: Sequence[Any], hint: int | None) -> NetworkShape:
        """What the declared dimensions of input and output fix, and the author's number of windows per call."""
        batch, *sizes = map(_fixed, taken)
        channels, *spatial = (sizes[-1], *sizes[:-1]) if self.last_in else sizes
        z, y, x = (1, *spatial) if self.flat else spatial
        channels_out = _fixed(given[-1 if self.last_out else 1]) if len(given) == len(taken) else None
        return NetworkShape(channels, channels_out, (z, y, x), batch, hint)


def find_layout(path: Path, taken: Sequence[Any], given: Sequence[Any], channels: int, moved: bool) -> Layout:
    """The layout of a network.

    Args:
        path: The model, for messages.
        taken: Dimensions of its input: numbers, or names or None for free ones.
        given: Those of its output.
        channels: Input channels that the model spec names.
        moved: Whether the first thing it does is to move its last axis to the second place.

    Raises:
        ModelError: it has another number of axes, or it cannot be told where the channels are.
    """
    if len(taken) not in (4, 5):
        raise ModelError(f"{path}: the network's input has shape {list(taken)}; NCZYX (3D) or NCYX (2D) is needed")
    last_in = moved or _is_last(path, taken, given, channels)
    spatial = taken[1:-1] if last_in else taken[2:]
    last_out = len(given) == len(taken) and _has_channels_last(tuple(given), tuple(spatial), last_in)
    return Layout(len(taken) == 4, last_in, last_out)


def _is_last(path: Path, taken: Sequence[Any], given: Sequence[Any], channels: int) -> bool:
    first, last = _fixed(taken[1]), _fixed(taken[-1])
    if first == channels == last:  # one voxel wide, or one slice deep? The output's axes may show it
        by_first, by_last = (
            list(spatial) in (list(given[1:-1]), list(given[2:])) for spatial in (taken[2:], taken[1:-1])
        )
        if by_first == by_last:
            names = " or ".join(_axes(len(taken), where) for where in (False, True))
            raise ModelError(
                f"{path}: the network's input has shape {list(taken)}, and nothing tells whether that is {names}; "
                "export it with free spatial dimensions, or with a window of more than one voxel along every axis"
            )
        return by_last
    if first == channels or last == channels:
        return first != channels
    # A number of channels that the spec does not name: that is for the spec's check to say, with the right number.
    return last is not None and last <= FEW and (first is None or first > last)


def _has_channels_last(shape: tuple[Any, ...], spatial: tuple[Any, ...], preferred: bool) -> bool:
    """Whether only the last axis of an answer's shape can be the channels; as preferred if both or none can."""
    by_first, by_last = shape[2:] == spatial, shape[1:-1] == spatial
    return preferred if by_first == by_last else by_last


def _moved(array: Windows, source: int, target: int) -> Windows:
    """The array with one axis moved, in contiguous memory."""
    moved = namespace(array).moveaxis(array, source, target)
    return np.ascontiguousarray(moved) if isinstance(moved, np.ndarray) else moved.contiguous()


def _axes(count: int, last: bool) -> str:
    spatial = "Z Y X" if count == 5 else "Y X"
    return f"N {spatial} C" if last else f"N C {spatial}"


def _fixed(dimension: Any) -> int | None:
    return dimension if isinstance(dimension, int) and dimension > 0 else None
