"""Windows that OpenVINO runs one by one, at the same time on parts of the threads.

Layers of one window fit in the caches better than those of several, and threads wait less for each other than
within one window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from itk_infer.model.backend import Logits, Windows


class InStreams:
    """A network that is compiled for one window.

    Args:
        compiled: The network, an `openvino.CompiledModel`.
        tensor: `openvino.Tensor`.
        dtype: Type of its output.
        streams: Windows that it runs at the same time.

    Raises:
        ValueError: its output is not of one window.
    """

    def __init__(self, compiled: Any, tensor: Any, dtype: Any, streams: int) -> None:
        count, *self._shape = (int(side) for side in compiled.output(0).shape)
        if count != 1:
            raise ValueError(f"the output for one window has the shape {(count, *self._shape)}")
        self._tensor, self._dtype = tensor, dtype
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        self._answer = np.empty((0, *self._shape), dtype)

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; the memory of the output is reused by the next call."""
        if len(self._answer) != len(windows):
            self._answer = np.empty((len(windows), *self._shape), self._dtype)
        try:
            for number in range(len(windows)):
                request, which = self._requests[number % len(self._requests)], slice(number, number + 1)
                request.wait()
                request.set_output_tensor(0, self._tensor(self._answer[which], shared_memory=True))
                request.start_async({0: windows[which]}, share_inputs=True)
        finally:
            for request in self._requests:
                request.wait()
        return self._answer


class Together:
    """A network that is compiled for a number of windows, and takes no other.

    Args:
        compiled: The network, an `openvino.CompiledModel`.
    """

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; the memory of the output is reused by the next call."""
        answer: Logits = self._request.infer({0: windows}, share_inputs=True, share_outputs=True)[0]
        return answer
