"""Pictures with their neighbours."""

from __future__ import annotations

import pytest

from itk_infer.classify.sequence import Slot, with_neighbours


@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_each_is_seen_with_those_around_it(count: int, reach: int) -> None:
    seen = list(with_neighbours(iter([Slot(k) for k in range(count)]), reach))
    assert [around[at] for around, at in seen] == list(range(count))
    for k, (around, at) in enumerate(seen):
        assert around[max(0, at - reach) : at + reach + 1] == list(
            range(max(0, k - reach), min(count, k + reach + 1))
        )
        assert len(around) <= 2 * reach + 1


def test_a_twin_is_seen_with_the_same_neighbours_and_is_none_itself() -> None:
    slots = [Slot("a"), Slot("b", ["twin"]), Slot("c")]
    seen = list(with_neighbours(iter(slots), 1))
    assert (["a", "twin", "c"], 1) in seen
    assert [around[at] for around, at in seen] == ["a", "b", "twin", "c"]
    assert all(around[at] == "twin" or "twin" not in around for around, at in seen)


def test_pictures_are_taken_as_late_as_possible() -> None:
    taken = []

    def slots():
        for k in range(5):
            taken.append(k)
            yield Slot(k)

    seen = with_neighbours(slots(), 1)
    next(seen)
    assert taken == [0, 1]
