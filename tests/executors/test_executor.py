"""Every executor passes the tests of `ExecutorTests`."""

from __future__ import annotations

import pytest
from support.local_cluster import local_cluster_of

from itk_infer.executors import dask, in_flight
from itk_infer.executors.dask_cluster import RunningCluster
from itk_infer.executors.gpus import Placement
from itk_infer.executors.in_process import InProcess
from itk_infer.executors.workers import Workers
from itk_infer.testing import ExecutorTests


class TestInProcess(ExecutorTests):
    apart = False

    def make(self, model, timeout):
        return InProcess(model.load())


class TestWorkers(ExecutorTests):
    workers = 2
    clocks = (in_flight,)

    def make(self, model, timeout):
        return Workers(model, (Placement(),) * 2, timeout)


class TestOverlappingWorkers(TestWorkers):
    """As on a GPU, where a worker reads and writes beside the network."""

    def make(self, model, timeout):
        return super().make(model.on("pretended"), timeout)


@pytest.fixture(scope="session")
def local_cluster():
    pytest.importorskip("distributed")
    with local_cluster_of(2) as cluster:
        yield cluster


class TestDask(ExecutorTests):
    workers = 2
    clocks = (dask,)

    @pytest.fixture(autouse=True)
    def cluster(self, local_cluster):
        self.address = local_cluster.scheduler_address

    def make(self, model, timeout):
        return dask.DaskCluster(model, RunningCluster(self.address), 1, timeout)
