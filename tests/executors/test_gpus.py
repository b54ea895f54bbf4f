"""Which worker runs where: a table of what schedulers allow and what users ask for."""

from __future__ import annotations

import pytest

from itk_infer.errors import ConfigError
from itk_infer.executors import gpus as module
from itk_infer.executors.gpus import Placement, place_workers


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    monkeypatch.setattr(module, "usable_cores", lambda: 8)


@pytest.mark.parametrize(
    ("workers", "options", "devices"),
    [
        (None, {}, [None]),
        (3, {}, [None, None, None]),
        (None, {"gpus": 2}, ["cuda:0", "cuda:1"]),
        (4, {"gpus": 2}, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        (3, {"gpus": 2}, ["cuda:0", "cuda:1", "cuda:0"]),
        (1, {"gpus": 4}, ["cuda:0"]),
        (3, {"gpu_ids": [0, 2]}, ["cuda:0", "cuda:2", "cuda:0"]),
        (2, {"gpus": 2, "visible": "3,5"}, ["cuda:0", "cuda:1"]),
        (2, {"gpu_ids": [1], "visible": "GPU-aa,GPU-bb"}, ["cuda:1", "cuda:1"]),
        (1, {"gpus": 1, "visible": "7,-1,3"}, ["cuda:0"]),
    ],
)
def test_workers_go_round_the_gpus(workers, options, devices):
    placements = place_workers(workers, **options)
    assert [placement.device for placement in placements] == devices
    assert {placement.visible for placement in placements} == {None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpus": 1, "visible": ""}, "allows 0"),
        ({"gpus": 1, "visible": "NoDevFiles"}, "allows 0"),
        ({"gpus": 3, "visible": "3,5"}, "GPU 2 is asked for"),
        ({"gpu_ids": [5], "visible": "3,5"}, "CUDA_VISIBLE_DEVICES=3,5 allows 2"),
        ({"gpus": 2, "visible": "7,-1,3"}, "allows 1"),
    ],
)
def test_no_more_gpus_than_the_scheduler_allows(options, words):
    with pytest.raises(ConfigError, match=words):
        place_workers(None, **options)


def test_a_worker_sees_only_its_own_slice_of_a_gpu():
    placements = place_workers(3, gpus=2, visible="MIG-one,MIG-two")
    assert placements == (
        Placement("cuda:0", "MIG-one", 2),
        Placement("cuda:0", "MIG-two", 2),
        Placement("cuda:0", "MIG-one", 2),
    )


@pytest.mark.parametrize(
    ("workers", "asked", "threads"), [(1, None, 8), (2, None, 4), (3, None, 2), (16, None, 1), (4, 3, 3)]
)
def test_workers_share_the_cores(workers, asked, threads):
    assert {placement.threads for placement in place_workers(workers, threads=asked)} == {threads}
