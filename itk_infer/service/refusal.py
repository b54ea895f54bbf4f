"""Why a request cannot be served, independent of the protocol by which it came."""

from __future__ import annotations

from typing import Literal

from itk_infer.errors import ItkInferError

Kind = Literal[
    "not_found", "full", "busy", "no_space", "too_large", "unsupported", "invalid", "conflict", "forbidden", "slow"
]


class Refusal(ItkInferError):
    """A request that is refused; the message goes to the client.

    Args:
        kind: Which, for programs.
        message: What is wrong, and what to do. Never holds a path of the server or a name from an image.
        retry_s: Seconds after which the same request may succeed; None: it will not.
    """

    exit_code = 3

    def __init__(self, kind: Kind, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_s = retry_s
