"""A network of steps in the two forms that are compared: for OpenVINO, and for NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from itk_infer.model.kinds.network_steps.openvino_graph import openvino_graph
from itk_infer.model.kinds.network_steps.reference import reference_logits
from itk_infer.model.kinds.network_steps.step import Step, Values
from itk_infer.model.runtimes.graph import GraphNetwork

WITHOUT_TORCH = "OpenVINO runs the network, which is built and compared with NumPy's answer without torch"


def graph_network(
    steps: Sequence[Step], folds: Sequence[Mapping[str, Values]], release: Callable[[], None]
) -> GraphNetwork:
    """A network with the mean logits of several folds.

    Args:
        steps: The network; the last result is its logits.
        folds: Weights of each fold, with the names and shapes of `weights_of`.
        release: See `GraphNetwork`.
    """
    return GraphNetwork(
        lambda shape: openvino_graph(steps, folds, shape),
        lambda windows: reference_logits(steps, folds, windows),
        release,
    )
