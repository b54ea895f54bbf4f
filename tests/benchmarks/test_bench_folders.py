from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ('{"event": "progress", "done": 0, "total": 100}', False),
        ('{"event": "progress", "done": 1, "total": 100}', True),
        ('{"event": "case_started", "windows": 100}', False),
        ("first window", True),
        ("  0%|          | 0/100 [00:00<?, ?it/s]", False),
        ("  1%|          | 1/100 [00:01<02:00,  1.20s/it]", True),
        ("a sentence | 5", False),
    ],
)
def test_every_contender_tells_itsfirst_window(line, done):
    from folders import first_window

    assert first_window(line) is done


def test_dice_by_hand():
    import numpy as np
    from parts.accuracy import dice

    one, other = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 1], bool)
    assert dice(one, other) == pytest.approx(2 / 5)
    assert dice(one & False, other & False) == 1
