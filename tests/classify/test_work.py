"""How many threads classify."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from itk_infer.classify import work


@pytest.mark.parametrize(
    ("cores", "device", "threads"),
    [(4, "cpu", 8), (6, "cpu", 12), (3, "cpu", 3), (4, "cuda:0", 4)],
    ids=["all cores", "more than there are", "some cores", "a GPU"],
)
def test_threads_wait_for_the_network_beside_those_that_decode(
    monkeypatch: pytest.MonkeyPatch, cores: int, device: str, threads: int
) -> None:
    monkeypatch.setattr(work, "usable_cores", lambda: 4)
    classifier: Any = SimpleNamespace(model=SimpleNamespace(networks=[SimpleNamespace(device=device)]))
    assert work.threads_on(classifier, cores) == threads
