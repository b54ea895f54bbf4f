"""Ports for programs that are told by number where to listen."""

from __future__ import annotations

import os
import random
import socket
import sys

# Below those that systems give to outgoing connections and to sockets that ask for any: 32768 and up on Linux, 49152 and
# up elsewhere. One of those could be given away before the program has it, or while it starts again.
FIRST, END = 15_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, and which the system gives to nobody who does not ask for it.

    No test process of this machine gets it too: a program may take seconds to listen on it, or start again.
    """
    chance = random.Random(os.urandom(8))  # not that of tests, which may all begin with the same seed
    while True:
        port = chance.randrange(FIRST, END)
        with socket.socket() as link:
            try:
                link.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _claimed(port):
            return port


def _claimed(port: int) -> bool:
    """Claim a port among test processes, by a name that the system frees with this process."""
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0itk_infer tests, port {port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # stays open until this process ends
    return True
