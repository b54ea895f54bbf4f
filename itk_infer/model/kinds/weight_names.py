"""Load the weights of a checkpoint into a network whose parameter names may differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.errors import ModelError
from itk_infer.model.kinds.checkpoint import load_state_dict
from itk_infer.model.runtimes.torch import first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

Weights = Mapping[str, "Tensor"]
# Parts of names that DistributedDataParallel and torch.compile insert where they wrap a module.
WRAPPERS = {"module": "DistributedDataParallel", "_orig_mod": "torch.compile"}


def load_weights(network: nn.Module, checkpoint: Path) -> list[str]:
    """Load weights, which must fit exactly.

    Their names are matched to the network's first, see `fit_names`.

    Returns:
        Notes for the user on how the names were matched.

    Raises:
        ModelError: the file cannot be read safely, or names or shapes differ; the message lists them.
    """
    found, notes = load_state_dict(checkpoint)
    own = network.state_dict()
    state, more = fit_names(found, own, [part for part, _ in network.named_children()], checkpoint)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        shapes = [
            f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        findings = {
            "missing": [name for name in own if name not in state],
            "unexpected": [name for name in state if name not in own],
            "of another shape": shapes,
        }
        listed = [f"{len(names)} {what} ({_some(names, 4)})" for what, names in findings.items() if names]
        raise ModelError(
            f"{checkpoint}: the weights are not those of this network: {'; '.join(listed) or first_line(error)}. "
            "Give the checkpoint that was trained with this config, or the config that it was trained with"
        ) from error
    return [*notes, *more]


def fit_names(
    state: Weights, own: Collection[str], parts: Collection[str], path: Path
) -> tuple[Weights, list[str]]:
    """Rename weights to the network's names.

    Parts of names that wrappers inserted are removed, and so is a prefix such as ``model.``, if that gives exactly
    the network's names. Weights of a single child module fit a network that has no other weights.

    Args:
        state: The weights by their names in the checkpoint.
        own: The names of the network's weights.
        parts: The names of the network's child modules.
        path: The checkpoint, for messages.

    Returns:
        The weights, and notes for the user. If nothing fits, as many names as possible are matched, for the error
            message.

    Raises:
        ModelError: several sets of weights in the checkpoint would fit.
    """
    if state.keys() == set(own):
        return state, []
    notes = []
    short = {_unwrapped(name): value for name, value in state.items()}
    targets = {_unwrapped(name): name for name in own}
    if len(short) < len(state) or len(targets) < len(own):  # the network itself has modules of these names
        short, targets = dict(state), {name: name for name in own}
    elif short.keys() != state.keys():
        used = [word for word in WRAPPERS if any(word in name.split(".") for name in state)]
        notes.append(
            f"{path.name}: left {' and '.join(f'{word}. ({WRAPPERS[word]})' for word in used)} out of names"
        )
    if targets.keys() < short.keys():  # weights that the network does not have, not a prefix
        return {targets.get(name, name): value for name, value in short.items()}, notes
    inner = {
        part: {name.removeprefix(f"{part}."): target for name, target in targets.items()}
        for part in parts
        if all(name.startswith(f"{part}.") for name in targets)
    }
    for part, wanted in [("", targets), *inner.items()]:
        prefixes = _prefixes(short, wanted)
        if len(prefixes) > 1:
            raise ModelError(
                f"{path}: holds the weights of this network several times, under {' and '.join(prefixes)}; save "
                "the wanted ones alone: torch.save(part.state_dict(), ...)"
            )
        if prefixes:
            prefix = prefixes[0]
            others = [name for name in short if not name.startswith(prefix)]
            if prefix:
                left = f", and did not load {len(others)} weights without it ({_some(others)})" if others else ""
                notes.append(f"{path.name}: left the prefix {prefix} out of names{left}")
            if part:
                notes.append(f"{path.name} holds the weights of the model's {part} alone: loaded there")
            return {target: short[prefix + name] for name, target in wanted.items()}, notes
    return _nearest(short, targets), notes


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _prefixes(state: Weights, wanted: Mapping[str, str]) -> list[str]:
    """All prefixes (perhaps empty) under which `state` has exactly the wanted names."""
    first = next(iter(wanted), "")
    found = []
    for name in state:
        prefix = name[: len(name) - len(first)]
        if prefix + first == name and (not prefix or prefix.endswith(".")):
            below = {other for other in state if other.startswith(prefix)}
            if below == {prefix + other for other in wanted}:
                found.append(prefix)
    return found


def _nearest(state: Weights, targets: Mapping[str, str]) -> dict[str, Tensor]:
    """Remove common first parts of all names, as many as give the most names of the network."""
    best = state
    while len({name.partition(".")[0] for name in state}) == 1 and all("." in name for name in state):
        state = {name.partition(".")[2]: value for name, value in state.items()}
        best = max(best, state, key=lambda weights: len(weights.keys() & targets.keys()))
    return {targets.get(name, name): value for name, value in best.items()}


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
