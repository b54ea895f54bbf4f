"""The networks of a model, each with its explainer, and what they show of a batch of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from itk_infer.classifier import Classifier
from itk_infer.classify.saliency.placement import box_of, placed
from itk_infer.errors import ModelError
from itk_infer.model.classifier import PictureNetwork
from itk_infer.model.saliency.choice import explainer_for
from itk_infer.model.saliency.explainer import Explainer
from itk_infer.model.saliency.maps import normalised

LONGEST_SIDE = 512  # pixels of the canvas on which maps of several networks meet
Inputs = list[NDArray[np.float32]]  # one (C, Y, X) for each of `Classifier.inputs`


@dataclass(frozen=True, slots=True)
class MethodMap:
    """What one method shows of one picture.

    Attributes:
        map: (h, w) over the whole picture, 0 to 1: the mean of the networks' maps, each divided by its maximum.
        raw: By network: its own map, at its own size.
        agreement: Mean correlation of two networks' maps; None for one network.
    """

    map: NDArray[np.float32]
    raw: tuple[NDArray[np.float64], ...]
    agreement: float | None


class ModelExplainer:
    """Explains pictures by all networks of a model.

    Args:
        classifier: The loaded model.
        methods: Names of methods.
        layer: Of all networks; None: found.
        threads: Of onnxruntime.

    Raises:
        ConfigError: a method is unknown.
        ModelError: a method cannot explain one of the networks.
    """

    def __init__(
        self, classifier: Classifier, methods: Sequence[str], *, layer: str | None = None, threads: int = 1
    ) -> None:
        self.methods = tuple(dict.fromkeys(methods))
        self._classifier, self._layer, self._threads = classifier, layer, threads
        self._networks = classifier.model.networks
        self._explainers: list[Explainer] = []

    def about(self, inputs: Inputs) -> list[dict[str, str]]:
        """Of each network: name, group, digest, how it is explained, and by which tensor.

        Args:
            inputs: Of any picture: they tell the sizes.
        """
        members = self._classifier.model.members
        return [
            {**member, "how": explainer.how, "layer": explainer.layer}
            for member, explainer in zip(members, self._made(inputs), strict=True)
        ]

    def explain(
        self, inputs: Sequence[Inputs], labels: Sequence[int], shapes: Sequence[tuple[int, int]]
    ) -> list[dict[str, MethodMap]]:
        """Explain pictures.

        Args:
            inputs: Of each, of equal sizes.
            labels: Of each: the index of the label whose logit is explained.
            shapes: Rows and columns of each picture, as it was decoded.

        Returns:
            Of each: maps by method.
        """
        specs = self._classifier.model.inputs
        names = [self._classifier.model.labels[label].name for label in labels]
        found = []
        for network, explainer in zip(self._networks, self._made(inputs[0]), strict=True):
            number = specs.index(network.spec.input)
            channels = {label.name: label.channel for label in network.spec.output.labels}
            targets = np.array([channels[name] for name in names], np.intp)
            batch = np.stack([parts[number] for parts in inputs])
            found.append(explainer.explain(batch, targets, self.methods).maps)
        return [
            {method: self._mean([maps[method][at] for maps in found], shape) for method in found[0]}
            for at, shape in enumerate(shapes)
        ]

    def _mean(self, raw: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> MethodMap:
        scale = min(1.0, LONGEST_SIDE / max(shape))
        canvas = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
        maps = [
            normalised(placed(values, box_of(network.spec.input, shape), shape, canvas))
            for network, values in zip(self._networks, raw, strict=True)
        ]
        pairs = [_correlation(a, b) for a, b in combinations(maps, 2)]
        return MethodMap(np.mean(maps, axis=0), tuple(raw), float(np.mean(pairs)) if pairs else None)

    def _made(self, inputs: Inputs) -> list[Explainer]:
        if not self._explainers:
            specs = self._classifier.model.inputs
            self._explainers = [
                _explainer(
                    one, self.methods, self._layer, inputs[specs.index(one.spec.input)].shape, self._threads
                )
                for one in self._networks
            ]
        return self._explainers


def _explainer(
    network: PictureNetwork, methods: Sequence[str], layer: str | None, size: tuple[int, ...], threads: int
) -> Explainer:
    try:
        return explainer_for(
            methods,
            network.forward,
            onnx=getattr(network, "path", None),
            network=getattr(network, "module", None),
            size=(size[0], size[1], size[2]),
            layer=layer,
            probabilities=network.spec.output.activation == "none",
            device=network.device,
            threads=threads,
        )
    except ModelError as error:
        text = str(error)
        raise ModelError(text if network.name in text else f"{network.name}: {text}") from error


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's; 0 where a map is the same everywhere."""
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
