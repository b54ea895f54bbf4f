"""Timing calls: what is timed, and when a call is not even tried."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.machine import HostMemory, host_memory
from itk_infer.model.batch_size.trial import SECONDS, BatchTrial

WINDOWS = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1, 1)


class Network:
    """Takes the next of the times given, then the last one again; and memory for each window."""

    def __init__(self, *times, each=0, before=1000, spare=10**9):
        self.times = list(times)
        self.now = 0.0
        self.seen = []
        self.before, self.each, self.spare = before, each, spare
        self.most = 0

    def __call__(self, windows):
        self.seen.append(windows[:, 0, 0, 0, 0].tolist())
        self.now += self.times.pop(0) if len(self.times) > 1 else self.times[0]
        self.most = max(self.most, len(windows))
        return windows

    def clock(self):
        return self.now

    def memory(self):
        return HostMemory(self.before, self.before + self.most * self.each, self.spare)

    def trial(self):
        return BatchTrial(self, WINDOWS, clock=self.clock, memory=self.memory)


def test_the_first_call_compiles_and_is_not_timed():
    network = Network(100, 3, 2)
    assert network.trial()(1) == 2
    assert len(network.seen) == 3


def test_short_calls_are_repeated_and_the_fastest_counts():
    network = Network(9, SECONDS / 2, SECONDS / 8, SECONDS / 4, SECONDS / 8, SECONDS)
    assert network.trial()(1) == SECONDS / 8
    assert len(network.seen) == 1 + 4


def test_windows_are_real_and_repeated_where_there_are_too_few():
    network = Network(1)
    trial = network.trial()
    trial(2)
    assert network.seen[-1] == [0, 1]
    trial(8)
    assert network.seen[-1] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_network_must_return_an_output_per_window():
    with pytest.raises(InferenceError, match="did not return one output for each of 2 windows"):
        BatchTrial(lambda windows: windows[:1], WINDOWS, memory=lambda: None)(2)


@pytest.mark.parametrize(("spare", "runs"), [(1599, False), (1600, True)])
def test_what_must_be_expected_not_to_fit_is_not_run(spare, runs):
    network = Network(1, each=100, spare=spare)  # 8 windows take 800, half of what is left
    trial = network.trial()
    trial(4)
    if runs:
        trial(8)
    else:
        with pytest.raises(OutOfMemoryError, match="8 windows per call"):
            trial(8)
    assert network.most == (8 if runs else 4)


def test_where_the_system_tells_nothing_nothing_is_forbidden():
    network = Network(1)
    assert BatchTrial(network, WINDOWS, clock=network.clock, memory=lambda: None)(10**4) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_memory_of_this_process():
    before = host_memory()
    block = np.ones(50_000_000, np.uint8)
    now = host_memory()
    assert now.peak >= now.resident >= before.resident + 0.5 * len(block)  # what other threads give back is less
    assert now.spare > 0
