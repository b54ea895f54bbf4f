"""A network that is built in another thread: it answers when it is there, or says why it is not."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from itk_infer.model.runtimes.built_meanwhile import BuiltMeanwhile


def test_it_is_built_by_another_thread_and_once() -> None:
    builders: list[int] = []

    def build() -> Any:
        builders.append(threading.get_ident())
        return lambda number: number + 1

    network = BuiltMeanwhile(build)
    assert [network(1), network(2)] == [2, 3]
    assert len(builders) == 1
    assert builders[0] != threading.get_ident()


def test_every_call_raises_what_building_raised() -> None:
    def build() -> Any:
        raise ValueError("broken")

    network = BuiltMeanwhile(build)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            network(1)
        with pytest.raises(ValueError, match="broken"):
            network.wait()


def test_it_is_ready_once_it_is_built() -> None:
    go = threading.Event()

    def build() -> Any:
        go.wait()
        return lambda number: number + 1

    network = BuiltMeanwhile(build)
    assert not network.ready
    go.set()
    network.wait()
    assert network.ready
