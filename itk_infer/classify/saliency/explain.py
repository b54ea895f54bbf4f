"""Explains pictures by all networks of a model, and combines the networks' maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.classifier import Classifier
from itk_infer.classify.saliency.placement import box_of, placed
from itk_infer.errors import ModelError
from itk_infer.model.classifier import PictureNetwork
from itk_infer.model.saliency.choice import explainer_for
from itk_infer.model.saliency.explainer import Explainer
from itk_infer.model.saliency.maps import normalised

LONGEST_SIDE = 512  # pixels longest side of the grid to which maps of several networks are resampled
MIRRORED = ", mean with the mirror image"
Inputs = list[NDArray[np.float32]]  # one array (C, Y, X) per entry of `PictureClassifier.inputs`


@dataclass(frozen=True, slots=True)
class MethodMap:
    """The saliency map of one method for one picture.

    Attributes:
        map: (h, w) over the whole picture, 0 to 1: the mean of the networks' maps, each divided by its maximum.
        raw: Per network, its own map at its own size.
        agreement: Mean Pearson correlation over pairs of networks' maps; None for one network.
    """

    map: NDArray[np.float32]
    raw: tuple[NDArray[np.float64], ...]
    agreement: float | None


class ModelExplainer:
    """Explains pictures by all networks of a model.

    Args:
        classifier: The loaded model.
        methods: Names of methods, see `model.saliency.maps.METHODS`.
        layer: Name of the tensor for Grad-CAM in all networks; None: chosen per network.
        threads: Threads of each network on the CPU.

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

    def try_out(self) -> None:
        """Explain one picture of noise if sizes are known, so that unsupported methods are refused before a run.

        Raises:
            ModelError: a method cannot explain one of the networks.
        """
        sizes = [one.center_crop or one.size for one in self._classifier.model.inputs]
        if None in sizes:
            return
        rng = np.random.default_rng(0)
        noise = [
            rng.normal(size=(len(one.channels), *(size or ()))).astype(np.float32)
            for one, size in zip(self._classifier.model.inputs, sizes, strict=True)
        ]
        for network, explainer in zip(self._networks, self._made(noise), strict=True):
            picture = noise[self._classifier.model.inputs.index(network.spec.input)][None]
            methods = [name for name in self.methods if name != "occlusion"]
            with _named(network):
                _explained(explainer, picture, np.zeros(1, np.intp), methods, network.batch)

    def about(self, inputs: Inputs) -> list[dict[str, str]]:
        """Describe each network: name, group, digest, how it is explained, and the tensor that is used.

        Args:
            inputs: Inputs of any picture; they determine the sizes.
        """
        members = self._classifier.model.members
        return [
            {**member, "how": explainer.how + (MIRRORED if _mirrored(network) else ""), "layer": explainer.layer}
            for member, network, explainer in zip(members, self._networks, self._made(inputs), strict=True)
        ]

    def explain(
        self, inputs: Sequence[Inputs], labels: Sequence[int], shapes: Sequence[tuple[int, int]]
    ) -> list[dict[str, MethodMap]]:
        """Explain pictures.

        Args:
            inputs: Inputs of each picture, all of the same size.
            labels: Per picture, the index of the label whose logit is explained.
            shapes: Per picture, rows and columns as decoded.

        Returns:
            Per picture, its maps by method.
        """
        specs = self._classifier.model.inputs
        names = [self._classifier.model.labels[label].name for label in labels]
        found = []
        for network, explainer in zip(self._networks, self._made(inputs[0]), strict=True):
            number = specs.index(network.spec.input)
            channels = {label.name: label.channel for label in network.spec.output.labels}
            targets = np.array([channels[name] for name in names], np.intp)
            batch = np.stack([parts[number] for parts in inputs])
            maps = _explained(explainer, batch, targets, self.methods, network.batch)
            if _mirrored(network):
                turned = np.ascontiguousarray(batch[..., ::-1])
                more = _explained(explainer, turned, targets, self.methods, network.batch)
                maps = {method: (maps[method] + more[method][..., ::-1]) / 2 for method in maps}
            found.append(maps)
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
        return MethodMap(np.mean(maps, axis=0), tuple(raw), _agreement(maps))

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


def _mirrored(network: PictureNetwork) -> bool:
    """Whether its probabilities are means with those of mirror images, of which the maps are means, too."""
    return network.spec.output.mirrored


def _explainer(
    network: PictureNetwork, methods: Sequence[str], layer: str | None, size: tuple[int, ...], threads: int
) -> Explainer:
    with _named(network):
        return explainer_for(
            methods,
            lambda pictures: np.concatenate([network.forward(part) for part in _parts(pictures, network.batch)]),
            onnx=getattr(network, "path", None),
            network=getattr(network, "module", None),
            size=(size[0], size[1], size[2]),
            batch=network.batch or 1,
            layer=layer,
            probabilities=network.spec.output.activation == "none",
            device=network.device,
            threads=threads,
        )


def _explained(
    explainer: Explainer,
    pictures: NDArray[np.float32],
    targets: NDArray[np.intp],
    methods: Sequence[str],
    fixed: int | None,
) -> dict[str, NDArray[np.float64]]:
    """Maps by method, (N, h, w)."""
    pairs = zip(_parts(pictures, fixed), _parts(targets, fixed), strict=True)
    found = [explainer.explain(*pair, methods).maps for pair in pairs if methods]
    return {name: np.concatenate([maps[name] for maps in found])[: len(pictures)] for name in methods}


def _parts(items: NDArray[Any], fixed: int | None) -> list[NDArray[Any]]:
    """Split items for a network with a fixed batch size; the last part is padded with its last item."""
    if fixed is None:
        return [items]
    missing = -len(items) % fixed
    filled = np.concatenate([items, np.repeat(items[-1:], missing, axis=0)])
    return [filled[first : first + fixed] for first in range(0, len(filled), fixed)]


@contextmanager
def _named(network: PictureNetwork) -> Iterator[None]:
    """Prefix errors with the network's name."""
    try:
        yield
    except ModelError as error:
        text = str(error)
        raise ModelError(text if network.name in text else f"{network.name}: {text}") from error


def _agreement(maps: Sequence[NDArray[np.float32]]) -> float | None:
    """Mean Pearson correlation over all pairs of maps, 0 for pairs with a constant map; None for a single map."""
    if len(maps) < 2:
        return None
    centred = np.stack([map_.ravel() - map_.mean(dtype=np.float64) for map_ in maps])
    lengths = np.linalg.norm(centred, axis=1)
    scaled = centred / np.where(lengths > 0, lengths, 1.0)[:, None]
    return float((scaled @ scaled.T)[np.triu_indices(len(maps), 1)].mean())
