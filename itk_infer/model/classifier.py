"""Models that classify pictures: networks, and ensembles of them in groups."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ConfigError, InferenceError
from itk_infer.model.ensemble import Mean, normalised
from itk_infer.model.runtimes.precision import Precision
from itk_infer.spec.classify_spec import Activation, ClassifySpec, PictureInput

Pictures = NDArray[np.float32]  # (N, C, Y, X)


class PictureNetwork(Protocol):
    """A network with one output value per label and picture.

    Attributes:
        spec: The complete spec: its input, and what its outputs mean.
        name: Name of its file, for messages.
        kind: Name in `MODEL_KINDS`.
        digest: SHA-256 of the model's files.
        device: ``"cpu"`` or ``"cuda:N"``.
        provider: Library that runs it.
        precision: Number format.
        batch: Pictures per call, if the network accepts no other number; None: any.
        notes: Sentences for the user.
    """

    spec: ClassifySpec
    name: str
    kind: str
    digest: str
    device: str
    provider: str
    precision: Precision
    batch: int | None
    notes: tuple[str, ...]

    def forward(self, pictures: Pictures) -> NDArray[np.floating[Any]]:
        """Run the network once; may be called from several threads at a time.

        Args:
            pictures: (N, C, Y, X) float32, contiguous.

        Returns:
            (N, outputs): logits, or probabilities if the spec says so.

        Raises:
            InferenceError: the network failed, or its output has another shape.
        """
        ...

    @property
    def ready(self) -> bool:
        """Whether the network is built, or building it has failed; until then, `forward` waits."""
        ...

    def wait(self) -> None:
        """Wait until the network is built, if that goes on in another thread; then `notes` are complete.

        Raises:
            ModelError: no library can run it.
        """
        ...

    def in_precision(self, precision: Precision) -> None:
        """Run in another precision from now on; without effect if the weights are stored in half precision."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's result for N pictures, with L labels in the order of its spec.

    Attributes:
        probabilities: (N, L); for an ensemble the mean over the members of each group, then over groups.
        logits: (N, L); None for an ensemble, and where the outputs are probabilities or averaged
            over mirror images.
        std: (N, L): population standard deviation over all members; None for a single network.
        members: (members, N, L): probabilities of each member.
    """

    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64] | None
    std: NDArray[np.float64] | None
    members: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """Networks or groups whose outputs are averaged.

    Attributes:
        members: At least one.
        weights: One per member; their sum is 1.
        mean: What is averaged: probabilities or logits.
        name: Name in tables; may be empty.
    """

    members: tuple[PictureNetwork | Group, ...]
    weights: tuple[float, ...]
    mean: Mean = "probabilities"
    name: str = ""

    @property
    def networks(self) -> list[PictureNetwork]:
        """All networks of the group and of groups within it, in order."""
        return [network for member in self.members for network in _networks(member)]

    def digest(self) -> str:
        """SHA-256 of the networks' digests, the groups and the weights."""
        parts = [member.digest() if isinstance(member, Group) else member.digest for member in self.members]
        words = json.dumps([self.mean, list(self.weights), parts])
        return hashlib.sha256(words.encode()).hexdigest()


def _networks(member: PictureNetwork | Group) -> list[PictureNetwork]:
    return member.networks if isinstance(member, Group) else [member]


def group_of(
    members: Sequence[PictureNetwork | Group],
    weights: Sequence[float] | None = None,
    mean: Mean = "probabilities",
    name: str = "",
) -> Group:
    """Make a `Group` of members that fit together.

    Raises:
        ConfigError: its networks have different labels, or the weights do not fit.
    """
    group = Group(tuple(members), normalised(weights, len(members)), mean, name)
    first, *others = group.networks
    wanted = {label.name for label in first.spec.output.labels}
    for network in others:
        names = {label.name for label in network.spec.output.labels}
        if names != wanted:
            differ = ", ".join(sorted(wanted ^ names))
            raise ConfigError(
                f"{first.name} and {network.name} have different labels ({differ}) and cannot be averaged; "
                "use the same names in their specs, or run each of them into an output folder of its own"
            )
    for network in group.networks if mean == "logits" else ():
        if network.spec.output.activation != "sigmoid":
            raise ConfigError(
                f"{network.name}: its activation is {network.spec.output.activation}, so logits cannot be "
                "averaged; average the probabilities"
            )
        if network.spec.output.mirrored:
            raise ConfigError(
                f"{network.name}: its probabilities are averaged with those of mirror images, so logits cannot be "
                "averaged; average the probabilities, or leave `output.mirrored` out of its spec"
            )
    return group


class PictureClassifier:
    """A network, or an ensemble, as one model.

    Args:
        model: The network, or the group.

    Attributes:
        spec: Spec of the first network; all results have the order of its labels.
        networks: All networks, in order.
        inputs: The networks' inputs, equal ones only once.
        digest: SHA-256 of the model files, and of how they are averaged.
        spec_digest: SHA-256 of what else determines a probability: inputs, activations, channels, precisions.
    """

    def __init__(self, model: PictureNetwork | Group) -> None:
        self._model = model
        self.networks = _networks(model)
        self.spec = self.networks[0].spec
        self.labels = self.spec.output.labels
        self.inputs: tuple[PictureInput, ...] = tuple(
            dict.fromkeys(network.spec.input for network in self.networks)
        )
        self.digest = model.digest() if isinstance(model, Group) else model.digest
        self.refresh_digest()

    def refresh_digest(self) -> None:
        """Compute `spec_digest` again, after a network changed its precision."""
        self.spec_digest = _spec_digest(self.networks)

    @property
    def name(self) -> str:
        """The name in tables and messages."""
        if isinstance(self._model, Group):
            return self._model.name or " + ".join(
                dict.fromkeys(one.spec.name or one.name for one in self.networks)
            )
        return self._model.spec.name or self._model.name

    @property
    def kind(self) -> str:
        """The name in `MODEL_KINDS`."""
        return self.networks[0].kind if not isinstance(self._model, Group) else "ensemble"

    @property
    def members(self) -> list[dict[str, str]]:
        """Name, group and digest of each network."""
        return [
            {"name": network.name, "group": group, "sha256": network.digest}
            for network, group in _with_groups(self._model, "")
        ]

    @property
    def notes(self) -> list[str]:
        """Sentences for the user, each once."""
        return list(dict.fromkeys(note for network in self.networks for note in network.notes))

    @property
    def ready(self) -> bool:
        """Whether all networks are built; until then, `scores` waits."""
        return all(network.ready for network in self.networks)

    def wait(self) -> None:
        """Wait until all networks are built; raises `ModelError` if no library can run one of them."""
        for network in self.networks:
            network.wait()

    def scores(self, pictures: Sequence[Pictures]) -> Scores:
        """Classify pictures.

        Args:
            pictures: One array per entry of `inputs`, (N, C, Y, X) float32.

        Raises:
            InferenceError: a network failed, or its outputs are not finite or not those that its spec describes.
        """
        by_input = dict(zip(self.inputs, pictures, strict=True))
        logits = [self._logits(network, by_input[network.spec.input]) for network in self.networks]
        answers = [
            self._answers(network, values, by_input[network.spec.input])[:, self._order(network)]
            for values, network in zip(logits, self.networks, strict=True)
        ]
        members = np.stack(answers)
        if not isinstance(self._model, Group):
            raw = None
            if self.spec.output.activation != "none" and not self.spec.output.mirrored:
                raw = logits[0][:, self._order(self.networks[0])]
            return Scores(members[0], raw, None, members)
        raws = [values[:, self._order(network)] for values, network in zip(logits, self.networks, strict=True)]
        mean, _ = self._mean(self._model, iter(answers), iter(raws))
        return Scores(mean, None, members.std(axis=0), members)

    def _mean(self, group: Group, answers: Any, raws: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean probabilities and logits of a group; the iterators yield those of the networks in order."""
        parts = [
            self._mean(member, answers, raws) if isinstance(member, Group) else (next(answers), next(raws))
            for member in group.members
        ]
        probability, logit = (
            np.sum([weight * part[which] for weight, part in zip(group.weights, parts, strict=True)], axis=0)
            for which in (0, 1)
        )
        if group.mean == "logits":
            return _probabilities(logit, self.spec.output.activation), logit
        return probability, logit

    def _answers(
        self, network: PictureNetwork, logits: NDArray[np.float64], pictures: Pictures
    ) -> NDArray[np.float64]:
        """Probabilities; the mean with those of the mirror images, if the spec asks for them."""
        found = _probabilities(logits, network.spec.output.activation)
        if not network.spec.output.mirrored:
            return found
        turned = self._logits(network, np.ascontiguousarray(pictures[..., ::-1]))
        return (found + _probabilities(turned, network.spec.output.activation)) / 2

    def _logits(self, network: PictureNetwork, pictures: Pictures) -> NDArray[np.float64]:
        count = len(pictures)
        if network.batch is None or network.batch == count:
            values = network.forward(pictures)
        else:  # the network accepts only this number of pictures, so the last call is padded
            fixed, parts = network.batch, []
            for first in range(0, count, fixed):
                part = pictures[first : first + fixed]
                missing = np.repeat(part[-1:], fixed - len(part), axis=0)
                parts.append(np.array(network.forward(np.concatenate([part, missing]))[: len(part)]))
            values = np.concatenate(parts)
        wanted = max(label.channel for label in network.spec.output.labels) + 1
        if values.ndim != 2 or len(values) != count or values.shape[1] < wanted:
            raise InferenceError(
                f"{network.name}: its output for {count} pictures has shape {values.shape}; one row per picture "
                f"with at least {wanted} numbers is needed for its labels"
            )
        exact = values.astype(np.float64)
        if not np.isfinite(exact).all():
            raise InferenceError(f"{network.name}: its output holds NaN or infinity")
        if network.spec.output.activation == "none" and ((exact < 0) | (exact > 1)).any():
            raise InferenceError(
                f"{network.name}: its output is outside 0 to 1, but is declared as probabilities by its spec; set "
                "output.activation"
            )
        return exact

    def _order(self, network: PictureNetwork) -> list[int]:
        """Indices of the network's output channels, in the order of the labels."""
        channels = {label.name: label.channel for label in network.spec.output.labels}
        return [channels[label.name] for label in self.labels]


def _with_groups(member: PictureNetwork | Group, group: str) -> list[tuple[PictureNetwork, str]]:
    if not isinstance(member, Group):
        return [(member, group)]
    return [pair for part in member.members for pair in _with_groups(part, member.name or group)]


def _probabilities(logits: NDArray[np.float64], activation: Activation) -> NDArray[np.float64]:
    if activation == "none":
        return logits
    if activation == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def _spec_digest(networks: Sequence[PictureNetwork]) -> str:
    words = []
    for network in networks:
        document = network.spec.to_dict()
        labels = [[label["name"], label["channel"]] for label in document["output"]["labels"]]
        words.append(
            [document["input"], document["select"], document["output"]["activation"], labels, network.precision]
            + (["mirrored"] if network.spec.output.mirrored else [])
        )
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
