"""The description of a model that a run records, whether the model is loaded here or in workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from itk_infer._version import __version__
from itk_infer.classifier import Classifier
from itk_infer.spec.classify_spec import ClassLabel


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Description of a loaded model, see `PictureClassifier`. Picklable.

    Attributes:
        digest: SHA-256 of the model files, and of how they are averaged.
        spec_digest: SHA-256 of what else determines a probability, including the precision.
        name: Name for tables and messages.
        kind: Name in `MODEL_KINDS`.
        activation: Activation of the first network.
        study_rule: Rule of the spec that summarises the images of a study.
        labels: Labels, in the order of all results.
        members: Name, group and digest of each network.
        device: Device of the networks, as text for the user.
        precisions: Precision of each network.
        reach: Number of neighbouring pictures before and after each one that are part of its input.
        batch: Pictures per call.
        threads: Threads that decode pictures and run the networks, per process.
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
        """Version of the program that computes; it must be the same as that of the run."""
        return {"itk_infer": __version__}


def facts_of(classifier: Classifier, batch: int = 1, threads: int = 1, notes: tuple[str, ...] = ()) -> ModelFacts:
    """Describe a model that is loaded in this process.

    Args:
        classifier: The model.
        batch: Pictures per call.
        threads: Threads that call it.
        notes: Notes in addition to those of the model.
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
