"""Several loaded models that give one result, each with what was found out about it."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, Self

from itk_infer.case.loaded_model import ONE_MEMBER, LoadedModel
from itk_infer.model.backend import Backend
from itk_infer.options import Options


class LoadedMembers(LoadedModel):
    """A `LoadedModel` for several members together.

    Args:
        backend: The ensemble or recipe.
        options: How the members are run.
        members: At least one; a member may have members itself.

    Attributes:
        members: The members.
    """

    def __init__(self, backend: Backend, options: Options, members: tuple[LoadedModel, ...]) -> None:
        # Mirroring, batch size and sub-members are settings of each member, not of the whole.
        super().__init__(backend, options.changed(tta=False, batch=1, **ONE_MEMBER))
        self.options = options
        self.members = members

    def in_safe_mode(self) -> Self:
        """See `LoadedModel.in_safe_mode`."""
        twin = copy.copy(self)
        twin.members = tuple(member.in_safe_mode() for member in self.members)
        return twin

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all members, each once."""
        return tuple(dict.fromkeys(note for member in self.members for note in member.notes))

    @property
    def leaves(self) -> tuple[LoadedModel, ...]:
        """The models that have a network, in order; a member that has members itself is replaced by these."""
        return tuple(
            leaf
            for member in self.members
            for leaf in (member.leaves if isinstance(member, LoadedMembers) else (member,))
        )

    @property
    def batch_size(self) -> int | None:
        """Windows per call of the first member."""
        return self.members[0].batch_size

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Identity of the first member, with the digest of all files, and the parts in which the others differ."""
        first, *others = (leaf.identity for leaf in self.leaves)
        differing = [{key: value for key, value in other.items() if first.get(key) != value} for other in others]
        return {**first, "model": self.backend.digest, "members": differing}
