"""Record tensors inside a torch network, by name, in order of computation.

There are three kinds of networks: Python modules (names of modules), torch.export programs (nodes of the graph),
and TorchScript programs (values of the graph). A recorder does not change the network.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from itk_infer.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Recorder(Protocol):
    """Runs a network and keeps intermediate tensors."""

    def run(self, inputs: Tensor, layer: str | None = None) -> tuple[Any, dict[str, Tensor]]:
        """Run the network once.

        Args:
            inputs: (N, C, H, W).
            layer: Name of the tensor to keep; empty: none; None: all.

        Returns:
            The output, and the tensors in order of computation; gradients of the output flow through them.
        """
        ...


def recorder_of(network: nn.Module) -> Recorder:
    """Make the recorder for a network's kind.

    Raises:
        ModelError: a TorchScript program cannot be converted to one graph.
    """
    import torch

    if isinstance(network, torch.jit.ScriptModule):
        return _ScriptRecorder(network)
    if isinstance(network, torch.fx.GraphModule):
        return _GraphRecorder(network)
    return _ModuleRecorder(network)


class _ModuleRecorder:
    """Keeps the outputs of modules, by hooks that are removed after each run."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def run(self, inputs: Tensor, layer: str | None = None) -> tuple[Any, dict[str, Tensor]]:
        """See `Recorder.run`."""
        import torch

        kept: dict[str, Tensor] = {}

        def hook(name: str) -> Callable[..., Any]:
            def record(module: nn.Module, given: Any, output: Any) -> Any:
                if not isinstance(output, torch.Tensor):
                    return None
                kept.pop(name, None)  # the last call of a module replaces earlier ones, also in the order
                kept[name] = output
                return output.clone()  # later operations may work in place

            return record

        with ExitStack() as stack:
            for name, module in self._network.named_modules():
                if name and layer in (None, name):
                    stack.callback(module.register_forward_hook(hook(name)).remove)
            return self._network(inputs), kept


class _GraphRecorder:
    """Keeps results of the nodes of a torch.export graph."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def run(self, inputs: Tensor, layer: str | None = None) -> tuple[Any, dict[str, Tensor]]:
        """See `Recorder.run`."""
        import torch

        kept: dict[str, Tensor] = {}

        class Keeper(torch.fx.Interpreter):
            def run_node(self, n: Any) -> Any:
                result = super().run_node(n)
                made = n.op.startswith("call_") and isinstance(result, torch.Tensor)
                if not made or layer not in (None, n.name):
                    return result
                kept[n.name] = result
                return result.clone()

        return Keeper(self._network).run(inputs), kept


class _ScriptRecorder:
    """Runs a copy of a TorchScript graph that has the values to keep as additional outputs."""

    def __init__(self, network: Any) -> None:
        import warnings

        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit announces its successor
            try:
                self._frozen = torch.jit.freeze(network.eval())  # one flat graph
            except Exception as error:  # torch's compiler raises many classes
                raise ModelError(
                    f"torch cannot freeze the TorchScript program ({type(error).__name__}), so its layers "
                    "cannot be explained; export the network to ONNX"
                ) from error
        self._functions: dict[str | None, tuple[list[str], Any]] = {}

    def run(self, inputs: Tensor, layer: str | None = None) -> tuple[Any, dict[str, Tensor]]:
        """See `Recorder.run`."""
        import torch

        if layer not in self._functions:
            graph, names = self._frozen.graph.copy(), []
            values = zip(_tensors(self._frozen.graph), _tensors(graph).values(), strict=True)
            for name, value in values:  # values of a copy have other names
                if layer in (None, name):
                    names.append(name)
                    graph.registerOutput(value)
            if names:
                graph.makeMultiOutputIntoTuple()
            self._functions[layer] = names, torch._C._create_function_from_graph("forward", graph)
        names, function = self._functions[layer]
        # From the second call on, the optimiser would detach tensors from the gradients.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            found = function(self._frozen._c, inputs)
        answer, *kept = found if names else (found,)
        return answer, dict(zip(names, kept, strict=True))


def _tensors(graph: Any) -> dict[str, Any]:
    """Tensor values of a TorchScript graph by name."""
    made = (value for node in graph.nodes() for value in node.outputs())
    return {value.debugName(): value for value in made if value.type().kind() == "TensorType"}
