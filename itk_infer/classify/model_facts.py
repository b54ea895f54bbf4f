"""What a run records of a model that is loaded here or in its workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from itk_infer._version import __version__
from itk_infer.classifier import Classifier
from itk_infer.spec.classify_spec import ClassLabel


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """See `PictureClassifier` for what is not said here. Picklable.

    Attributes:
        digest: Of the model files, and how they are averaged.
        spec_digest: Of all that decides a probability besides, also the precision.
        name: For tables and messages.
        kind: Of the model.
        activation: Of the first network.
        study_rule: Of its spec.
        labels: In the order of all answers.
        members: Of each network: its name, its group, its digest.
        device: Where the networks run, for people.
        precisions: Of each network.
        reach: How many pictures before and after one it sees together with it.
        batch: Pictures per call.
        threads: That decode and run it, in each process.
        notes: Sentences for the user.
    """

    digest: str
    spec_digest: str
    name: str
    kind: str
    activation: str
    study_rule: str
    labels: tuple[ClassLabel, ...]
    members: tuple[dict[str, str], ...]
    device: str
    precisions: tuple[str, ...]
    reach: int
    batch: int
    threads: int
    notes: tuple[str, ...]

    @property
    def about(self) -> dict[str, Any]:
        """The version that computes, which must be that of the run."""
        return {"itk_infer": __version__}


def facts_of(classifier: Classifier, batch: int = 1, threads: int = 1, notes: tuple[str, ...] = ()) -> ModelFacts:
    """Of a model that is loaded here.

    Args:
        classifier: The model.
        batch: Pictures per call.
        threads: That call it.
        notes: Besides those of the model.
    """
    model = classifier.model
    return ModelFacts(
        model.digest,
        model.spec_digest,
        model.name,
        model.kind,
        model.spec.output.activation,
        model.spec.output.study,
        tuple(model.labels),
        tuple(model.members),
        ", ".join(dict.fromkeys(network.device for network in model.networks)),
        tuple(network.precision for network in model.networks),
        classifier.reach,
        batch,
        threads,
        (*model.notes, *notes),
    )
