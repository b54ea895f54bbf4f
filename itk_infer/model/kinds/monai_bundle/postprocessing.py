"""Translate a bundle's postprocessing to the ``output`` block: activation, way back, decision, merging."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from itk_infer.model.kinds.monai_bundle.expression import Function
from itk_infer.model.kinds.monai_bundle.graph import Component
from itk_infer.model.kinds.monai_bundle.preprocessing import FLOATS, OF_CASTS
from itk_infer.model.kinds.monai_bundle.translation import Translation
from itk_infer.model.kinds.monai_bundle.values import a_number, a_switch, alone, nothing_but

_EVERYWHERE = ("keys", "allow_missing_keys", "meta_keys", "meta_key_postfix")
_OLDER = (
    "n_classes",
    "num_classes",
    "logit_thresh",
    "threshold_values",
)  # options of AsDiscreted that have no effect if they are off
_OF_SAVING = {
    *("output_dir", "output_postfix", "output_ext", "resample", "mode", "padding_mode", "align_corners", "dtype"),
    *("output_dtype", "squeeze_end_dims", "data_root_dir", "separate_folder", "print_log", "output_format"),
    *("writer", "output_name_formatter", "folder_layout", "savepath_in_metadict"),
}
MAX_MERGED = 256
_NEIGHBOURS = {None: 26, 1: 6, 2: 18, 3: 26}  # by the number of steps along axes


@dataclass(slots=True)
class Postprocessing(Translation):
    """The postprocessing that the transforms describe.

    Attributes:
        activation: ``softmax``, ``sigmoid`` or none.
        decision: ``argmax``, ``threshold`` or none.
        threshold: Probability above which a channel is present.
        back: What ``Invertd`` resamples: ``logits``, ``probabilities`` or ``labels``; None: no ``Invertd``.
        linear: Whether ``Invertd`` interpolates linearly.
        rules: Post-processing rules of the label map.
        merged: Pairs of channel and label value; later ones overwrite earlier ones. None: no merging.
    """

    activation: str | None = None
    decision: str | None = None
    threshold: float = 0.5
    back: str | None = None
    linear: bool = False
    rules: list[dict[str, Any]] = field(default_factory=list)
    merged: tuple[tuple[int, int], ...] | None = None

    def document(self, resampled: bool) -> dict[str, Any]:
        """The ``output`` block without labels.

        Args:
            resampled: Whether the model's grid differs from the image's.
        """
        content: dict[str, Any] = {"values": "logits", "decision": self.decision}
        if self.decision == "threshold":
            content["threshold"] = self.threshold
        if not resampled:
            what = "logits"  # nothing is interpolated
        elif self.back is None:
            what = "probabilities" if self.activation else "logits"
        else:
            what = self.back if self.linear else "labels"  # label values cannot be interpolated
        if self.rules:
            content["postprocessing"] = self.rules
        return {**content, "resample": what}


def read_postprocessing(transforms: Sequence[Component], source: str, resampled: bool) -> Postprocessing:
    """Read the transforms.

    Args:
        transforms: The transforms in order.
        source: Name of the config, for messages.
        resampled: Whether the preprocessing changes the grid.

    Raises:
        ModelError: a transform is not supported.
    """
    found = Postprocessing()
    for transform in transforms:
        handler = _TRANSFORMS.get(transform.name)
        if handler is None:
            raise transform.refused(
                f"is not among the transforms that can be run after the network ({', '.join(sorted(_TRANSFORMS))})"
            )
        handler(transform, found)
        if transform.name == "Invertd" and found.back == "labels" and found.linear and resampled:
            found.notes.append(
                f"{source}: the bundle interpolates label numbers (nearest_interp false after the argmax), which "
                "makes fractions of them; here labels return from the nearest voxel"
            )
        if transform.name == "KeepLargestConnectedComponentd" and found.back is None and resampled:
            found.notes.append(
                f"{source}: the bundle looks for components on the model's grid, here on the image's own"
            )
    if found.decision is None:
        found.decision = "threshold" if found.activation == "sigmoid" else "argmax"
        found.notes.append(
            f"{source}: the postprocessing decides nothing; {found.decision} of its last step is taken"
        )
    if resampled and found.back is None:
        found.notes.append(
            f"{source}: the bundle leaves its masks on the model's grid; here they return to the image's own"
        )
    return found


def _activate(transform: Component, found: Postprocessing) -> None:
    transform.only(*_EVERYWHERE, "sigmoid", "softmax", "other")
    nothing_but(transform, "other", None)
    kinds = [kind for kind in ("softmax", "sigmoid") if a_switch(transform, kind)]
    if len(kinds) > 1 or found.activation is not None or found.decision is not None:
        raise transform.refused("is a second activation, or comes after the decision: not understood")
    if kinds:
        found.activation = kinds[0]
    found.add(transform, f"{kinds[0]} of the logits" if kinds else "", **dict.fromkeys(kinds, True))


def _invert(transform: Component, found: Postprocessing) -> None:
    known = ("transform", "orig_keys", "orig_meta_keys", "nearest_interp", "to_tensor", "device", "post_func")
    transform.only(*_EVERYWHERE, *known)
    if "post_func" in transform.raw:
        nothing_but(transform, "post_func", None)
    if found.back is not None:
        raise transform.refused("is the second way back")
    found.linear = not a_switch(transform, "nearest_interp", True)
    found.back = "labels" if found.decision else "probabilities" if found.activation else "logits"
    how = "linearly" if found.linear else "from the nearest voxel"
    found.add(transform, f"{found.back} return {how}", nearest_interp=not found.linear)


def _decide(transform: Component, found: Postprocessing) -> None:
    transform.only(*_EVERYWHERE, "argmax", "threshold", "to_onehot", "rounding", *_OLDER)
    for key in ("to_onehot", "rounding", *_OLDER):
        nothing_but(transform, key, None, False)
    if found.decision is not None:
        raise transform.refused("is the second decision")
    threshold = alone(transform.argument("threshold"))
    if a_switch(transform, "argmax"):
        found.decision = "argmax"
    elif threshold is not None and threshold is not False:
        if found.activation != "sigmoid":
            raise transform.refused("has a threshold without a sigmoid before it, which is not understood")
        found.decision = "threshold"
        found.threshold = 0.5 if threshold is True else a_number(transform, "threshold")
        if not 0 < found.threshold < 1:
            raise transform.refused(f"has threshold={found.threshold:g}, which must lie between 0 and 1")
    words = f"output.decision {found.decision}" if found.decision else ""
    found.add(transform, words, **({found.decision: threshold or True} if found.decision else {}))


def _keep_largest(transform: Component, found: Postprocessing) -> None:
    transform.only(*_EVERYWHERE, "applied_labels", "is_onehot", "independent", "connectivity", "num_components")
    if found.decision != "argmax" or a_switch(transform, "is_onehot"):
        raise transform.refused("is understood after an argmax only, without is_onehot")
    given = transform.argument("applied_labels")
    labels = given if isinstance(given, list | tuple) else [] if given is None else [given]
    if not all(isinstance(label, int) and label > 0 for label in labels):
        raise transform.refused(f"has applied_labels={given!r:.60}, which must be values of labels")
    connectivity = transform.argument("connectivity")
    count = transform.argument("num_components", 1)
    if connectivity not in _NEIGHBOURS or isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise transform.refused("has a connectivity or num_components that is not understood")
    together = not a_switch(transform, "independent", True)
    rule = {"op": "keep_largest", "labels": list(labels), "count": count, "group": together}
    found.rules.append({**rule, "connectivity": _NEIGHBOURS[connectivity]})
    found.add(transform, f"output.postprocessing keep_largest {labels or 'of every label'}", applied_labels=given)


def _merge(transform: Component, found: Postprocessing) -> None:
    transform.only(*_EVERYWHERE, "func", "inv_func", "track_meta", "overwrite")
    function = transform.argument("func")
    merged = merged_channels(function) if isinstance(function, Function) else None
    if merged is None or found.decision != "threshold" or found.merged is not None:
        raise transform.refused(
            f"has func={str(function)[:80]}, which is not run: of functions, only the merging of channels after a "
            "threshold is known, torch.where(x[[2]] > 0, 4, torch.where(...))"
        )
    found.merged = merged
    words = " > ".join(f"channel {channel} as {value}" for channel, value in reversed(merged))
    found.add(transform, f"output.labels: {words}")


def merged_channels(function: Function) -> tuple[tuple[int, int], ...] | None:
    """Channels and values of nested ``torch.where``, lowest precedence first; None for any other function."""
    tree = function.tree
    name = tree.args.args[0].arg if len(tree.args.args) == 1 else ""
    found: list[tuple[int, int]] = []
    node: ast.expr = tree.body
    while len(found) < MAX_MERGED:
        match node:
            case ast.Constant(value=0) if found:
                return tuple(reversed(found))
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="torch"), attr="where"),
                args=[
                    ast.Compare(
                        left=ast.Subscript(
                            value=ast.Name(id=of), slice=ast.List(elts=[ast.Constant(value=int(channel))])
                        ),
                        ops=[ast.Gt()],
                        comparators=[ast.Constant(value=0)],
                    ),
                    ast.Constant(value=int(value)),
                    rest,
                ],
                keywords=[],
            ) if of == name and channel >= 0 and 0 < value <= 65535:
                found.append((channel, value))
                node = rest
            case _:
                return None
    return None


def _save(transform: Component, found: Postprocessing) -> None:
    transform.only(*_EVERYWHERE, *_OF_SAVING, "scale")
    nothing_but(transform, "scale", None)
    found.add(transform, "masks are written as this program writes them: type, name and folder are its own")


def _cast(transform: Component, found: Postprocessing) -> None:
    """A change of the type of numbers, which has no effect once the labels are decided."""
    transform.only(*_EVERYWHERE, *OF_CASTS)
    if found.decision is None:
        nothing_but(transform, "dtype", None, *FLOATS)
    found.add(transform)


_TRANSFORMS: dict[str, Callable[[Component, Postprocessing], None]] = {
    "Activationsd": _activate,
    "AsDiscreted": _decide,
    "Invertd": _invert,
    "Lambdad": _merge,
    "KeepLargestConnectedComponentd": _keep_largest,
    "SaveImaged": _save,
    "EnsureTyped": _cast,
    "CastToTyped": _cast,
    "ToTensord": _cast,
}
