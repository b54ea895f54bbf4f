"""The Python API of classification: load a model once, then classify any number of pictures.

classifier = itk_infer.Classifier.load("chest.onnx")
for picture in classifier("image.dcm"):
    picture.probabilities     # {"pneumonia": 0.93, "effusion": 0.04}
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.machine import usable_cores
from itk_infer.model.classifier import PictureClassifier, Scores
from itk_infer.model.load_classifier import load_classifier
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.spec.classify_spec import ClassifySpec
from itk_infer.volume.picture_input.maker import PictureMaker
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture, Picture

HALF_ERROR = 0.01  # largest difference of a probability in reduced precision


@dataclass(frozen=True, slots=True)
class PictureScores:
    """The result of a model for one picture.

    Attributes:
        frame: Number of the frame in its file, from 0.
        probabilities: Probability of each label, by its name.
        std: Standard deviation over the members of an ensemble, by label; empty for one network.
        positive: Labels at or above their threshold.
    """

    frame: int
    probabilities: dict[str, float]
    std: dict[str, float]
    positive: tuple[str, ...]


class Classifier:
    """A model that classifies pictures.

    Args:
        model: The loaded model.

    Attributes:
        model: The loaded model.
        spec: Spec of the model: its input and its labels.
        reach: Number of neighbouring pictures before and after each one that are part of its input.
    """

    def __init__(self, model: PictureClassifier) -> None:
        self.model = model
        self.spec: ClassifySpec = model.spec
        self._makers = [PictureMaker(wanted) for wanted in model.inputs]
        self.reach = max(maker.reach for maker in self._makers)
        self._thread = threading.local()

    @classmethod
    def load(
        cls,
        path: str | Path | Sequence[str | Path],
        options: Options | None = None,
        *,
        kind: str | None = None,
        calls: int = 1,
        **keywords: Any,
    ) -> Classifier:
        """Load a model.

        Args:
            path: An ONNX, TorchScript or torch.export file, or an ensemble file; several are averaged.
            options: How to load and run it; options about volumes have no effect.
            kind: ``onnx``, ``torch_file`` or ``ensemble``; default: recognised from the file.
            calls: Number of threads that may call the model at the same time.
            **keywords: Single options, which take precedence over `options`.

        Raises:
            ModelError: a network or the device cannot be used.
            ConfigError: the options do not fit, or networks cannot be averaged.
            SpecError: the model has no spec of its input and labels.
        """
        options = (options or Options()).changed(**keywords)
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(part) for part in path]
        threads = options.threads or usable_cores()
        return cls(
            load_classifier(
                paths, SpecSources(options), options, kind=kind, threads=threads, calls=min(calls, threads)
            )
        )

    def planes(self, picture: Picture) -> list[NDArray[np.float32]]:
        """Planes of a decoded picture: per entry of `model.inputs`, an array (planes, Y, X)."""
        return [maker.planes(picture) for maker in self._makers]

    def inputs(self, around: Sequence[list[NDArray[np.float32]]], at: int) -> list[NDArray[np.float32]]:
        """The networks' inputs for one picture of a series.

        Args:
            around: `planes` of the pictures of the series, or of those within `reach`.
            at: Index of the picture in `around`; beyond the ends, the first or last picture is repeated.

        Returns:
            One array (C, Y, X) per entry of `model.inputs`.
        """
        return [maker.channels(_places(around, at, number)) for number, maker in enumerate(self._makers)]

    def scores_around(self, pictures: Sequence[tuple[Sequence[list[NDArray[np.float32]]], int]]) -> Scores:
        """Classify pictures with their neighbours: `inputs` and `scores`, in memory that each thread keeps.

        Args:
            pictures: The arguments of `inputs` for each picture; all of one size.

        Raises:
            InferenceError: a network failed.
        """
        batches = []
        for number, maker in enumerate(self._makers):
            (around, at), *_ = pictures
            batch = self._kept(number, (len(pictures), maker.count, *around[at][number].shape[1:]))
            for (around, at), out in zip(pictures, batch, strict=True):
                maker.channels(_places(around, at, number), out)
            batches.append(batch)
        return self.model.scores(batches)

    def _kept(self, number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array for a batch of one network's inputs, overwritten by the thread's next batch."""
        name = f"batch {number}"
        kept: NDArray[np.float32] | None = getattr(self._thread, name, None)
        if kept is None or kept.shape != shape:
            kept = np.empty(shape, np.float32)
            setattr(self._thread, name, kept)
        return kept

    def scores(self, inputs: Sequence[list[NDArray[np.float32]]]) -> Scores:
        """Classify pictures.

        Args:
            inputs: Result of `inputs` for each picture; all of one size.

        Raises:
            InferenceError: a network failed.
        """
        return self.model.scores([np.stack(parts) for parts in zip(*inputs, strict=True)])

    def settle_precision(self, inputs: Sequence[list[NDArray[np.float32]]]) -> str:
        """Return to fp32 if reduced precision changes a probability by more than `HALF_ERROR`.

        Args:
            inputs: As for `scores`.

        Returns:
            A sentence about the result; empty if all networks run in fp32 already.
        """
        if not inputs or all(network.precision == "fp32" for network in self.model.networks):
            return ""
        reduced = self._side_by_side(inputs)
        kinds = [network.precision for network in self.model.networks]  # fp32 if no other precision could be built
        for network in self.model.networks:
            network.in_precision("fp32")
        if [network.precision for network in self.model.networks] == kinds:  # the weights have half precision
            self.model.refresh_digest()
            return ""
        error = float(np.abs(self._side_by_side(inputs) - reduced).max())
        words = " and ".join(sorted(set(kinds) - {"fp32"}))
        if error > HALF_ERROR:
            self.model.refresh_digest()
            return f"{words} changes a probability by {error:.3f}; fp32 is used"
        for network, precision in zip(self.model.networks, kinds, strict=True):
            network.in_precision(precision)
        self.model.refresh_digest()
        return f"{words}: probabilities differ by at most {error:.4f} from fp32 on the first pictures"

    def _side_by_side(self, inputs: Sequence[list[NDArray[np.float32]]]) -> NDArray[np.float64]:
        """Probabilities of pictures (N, L), computed by two calls at a time."""
        middle = (len(inputs) + 1) // 2
        parts = [part for part in (inputs[:middle], inputs[middle:]) if part]
        with ThreadPoolExecutor(len(parts)) as pool:
            return np.concatenate([scores.probabilities for scores in pool.map(self.scores, parts)])

    def __call__(self, path: str | Path) -> list[PictureScores]:
        """Classify the pictures of one file; only pictures of this file are neighbours of each other.

        Raises:
            InputError: the file is damaged, or holds no picture.
            InferenceError: a network failed.
        """
        path = Path(path)
        try:
            pictures = open_pictures(path)
            pictures.check(self.spec.select)
        except NotAPicture as reason:
            raise InputError(f"{path.name}: {reason}") from None
        around = [self.planes(pictures.picture(frame)) for frame in range(pictures.facts.frames)]
        scores = [self.scores([self.inputs(around, at)]) for at in range(len(around))]
        return [self._scores(frame, found) for frame, found in enumerate(scores)]

    def _scores(self, frame: int, found: Scores) -> PictureScores:
        names = [label.name for label in self.model.labels]
        probabilities = dict(zip(names, found.probabilities[0].tolist(), strict=True))
        std = {} if found.std is None else dict(zip(names, found.std[0].tolist(), strict=True))
        positive = tuple(label.name for label in self.model.labels if probabilities[label.name] >= label.threshold)
        return PictureScores(frame, probabilities, std, positive)


def _places(
    around: Sequence[list[NDArray[np.float32]]], at: int, number: int
) -> Callable[[int], NDArray[np.float32]]:
    """Planes by place relative to picture `at`, for one network; see `PictureMaker.channels`."""
    return lambda place: around[min(max(at + place, 0), len(around) - 1)][number]
