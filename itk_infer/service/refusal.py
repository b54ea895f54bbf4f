"""Refusals of requests, independent of the protocol."""

from __future__ import annotations

from typing import Literal

from itk_infer.errors import ItkInferError

Kind = Literal[
    "not_found", "full", "busy", "no_space", "too_large", "unsupported", "invalid", "conflict", "forbidden", "slow"
]


class Refusal(ItkInferError):
    """A refused request; the message is sent to the client.

    Args:
        kind: Machine-readable kind.
        message: What is wrong, and what to do. Must not contain paths of the server or names from an image.
        retry_s: Seconds after which the same request may succeed; None: it cannot.
    """

    exit_code = 3

    def __init__(self, kind: Kind, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_s = retry_s
