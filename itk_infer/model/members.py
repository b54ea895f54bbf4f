"""Members of one model that are blended separately: folds, mirrorings, perturbations, dropout samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itk_infer.errors import ConfigError
from itk_infer.model.backend import Backend
from itk_infer.model.inferer.mirror import Mirrored
from itk_infer.model.inferer.perturb import View, flipped, perturbations, unchanged
from itk_infer.model.label_match import Order
from itk_infer.model.mean_of_networks import MeanOfNetworks
from itk_infer.options import Options


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a model.

    Attributes:
        backend: Runs its network.
        weight: Weight in the mean; the sum over all members is 1.
        mirror_axes: Axes over whose mirrorings its logits are averaged; None: no mirroring.
        view: Changes the windows before the network, and its outputs after it.
        order: Order of its channels; None: as the first member's.
    """

    backend: Backend
    weight: float = 1.0
    mirror_axes: Sequence[int] | None = None
    view: View = unchanged
    order: Order | None = None


def members_of(backend: Backend, options: Options, mirror_axes: Sequence[int] | None) -> tuple[Member, ...]:
    """Return the members that options ask for; a single one if they ask for none.

    Args:
        backend: The model.
        options: `agreement`, `stability`, `mc_dropout`, `dropout_seed`.
        mirror_axes: Axes along which windows are mirrored; None: no mirroring.

    Raises:
        ConfigError: the model has no such members.
    """
    asked = [name for name in ("agreement", "stability", "mc_dropout") if getattr(options, name)]
    if len(asked) > 1:
        raise ConfigError(f"`{asked[0]}` and `{asked[1]}` exclude each other: give one of them")
    if options.dropout_seed and not options.mc_dropout:
        raise ConfigError("`dropout_seed` is the seed of `mc_dropout`: give that, too, or leave it out")
    if options.stability:
        channels = len(backend.spec.input.channels)
        views = (unchanged, *perturbations(options.stability, channels))
        return tuple(Member(backend, 1 / len(views), mirror_axes, view) for view in views)
    if options.mc_dropout:
        samples = dropout_samples(backend, options.mc_dropout, options.dropout_seed)
        return tuple(Member(sample, 1 / len(samples), mirror_axes) for sample in samples)
    if options.agreement:
        return _folds_or_mirrorings(backend, mirror_axes)
    return (Member(backend, mirror_axes=mirror_axes),)


def dropout_samples(backend: Backend, count: int, seed: int = 0) -> tuple[Backend, ...]:
    """Return several samples of a network with its dropout switched on; `seed` decides what they drop.

    Raises:
        ConfigError: the network has no dropout layers.
    """
    sampled = getattr(backend, "dropout_samples", None)
    if sampled is None:
        raise ConfigError(
            "`mc_dropout`: networks of this kind have no dropout (exports leave it out); it needs a torch network "
            "with dropout layers, or take `stability` instead"
        )
    samples: tuple[Backend, ...] = sampled(count, seed)
    return samples


def _folds_or_mirrorings(backend: Backend, mirror_axes: Sequence[int] | None) -> tuple[Member, ...]:
    if isinstance(backend, MeanOfNetworks):
        ensemble = backend.ensemble
        each = zip(ensemble.members, ensemble.weights, ensemble.orders, strict=True)
        return tuple(Member(one, weight, mirror_axes, order=order) for one, weight, order in each)
    folds: tuple[Backend, ...] = getattr(backend, "folds", ())
    if len(folds) > 1:
        return tuple(Member(fold, 1 / len(folds), mirror_axes) for fold in folds)
    if mirror_axes is None:
        raise ConfigError(
            "`agreement`: this model has no folds, and its windows are not mirrored, so that there is nothing to "
            "compare; `stability` compares it with itself on slightly changed images"
        )
    flips = Mirrored(backend.forward, mirror_axes).flips
    return tuple(Member(backend, 1 / len(flips), view=flipped(axes)) for axes in flips)
