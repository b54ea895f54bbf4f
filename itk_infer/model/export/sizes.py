"""Window sizes for the export and for the comparison."""

from __future__ import annotations

from itk_infer.spec import WindowSpec
from itk_infer.spec.model_spec import Triplet

SMALLEST = 32  # voxels per axis, for models that take whole volumes
STEP = 32  # voxels between sizes if the spec has no multiple; divisible by the strides of most networks


def example_size(rule: WindowSpec, *, flat: bool, free: bool) -> Triplet:
    """The window size to export with, Z Y X.

    Exporters may treat equal sizes as one variable: where sizes stay free, all of them differ.

    Args:
        rule: The ``window`` block of the model's spec.
        flat: Whether the network takes single planes, of size 1 along Z.
        free: Whether the sizes stay free.
    """
    steps = [multiple if multiple > 1 else STEP for multiple in rule.multiple_of]
    size = list(rule.patch_size) if rule.patch_size else [-(-SMALLEST // step) * step for step in steps]
    first = 1 if flat else 0
    if flat:
        size[0] = 1
    for axis in range(first, 3):
        while free and size[axis] in size[first:axis]:
            size[axis] += steps[axis]
    return size[0], size[1], size[2]


def compared_sizes(example: Triplet, rule: WindowSpec, *, flat: bool, free: bool) -> list[Triplet]:
    """The window sizes to compare outputs at: the exported one and, where sizes are free, another one."""
    if not free:
        return [example]
    steps = [multiple if multiple > 1 else STEP for multiple in rule.multiple_of]
    z, y, x = (size + step for size, step in zip(example, steps, strict=True))
    return [example, (1 if flat else z, y, x)]
