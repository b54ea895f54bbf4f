"""Every backend passes the tests of `BackendTests`."""

from __future__ import annotations

import numpy as np
import pytest
from support.onnx_files import sign_network

from itk_infer import FakeBackend, Predictor
from itk_infer.testing import BackendTests


class TestFake(BackendTests):
    @pytest.fixture
    def backend(self):
        return FakeBackend()


class TestFakeOfTensors(BackendTests):
    @pytest.fixture
    def backend(self):
        pytest.importorskip("torch")
        return FakeBackend(tensor_device="cpu")


class OnnxTests(BackendTests):
    """A network whose axes have these sizes; a name is any size."""

    shape = ("n", 1, "d", "h", "w")
    provider = "cpu"

    @pytest.fixture
    def backend(self, tmp_path):
        path = sign_network(tmp_path / "m.onnx", self.shape, metadata={"itk_infer": '{"spec": 1}'})
        return Predictor.from_onnx(path, device="cpu", provider=self.provider).backend


class TestOnnx(OnnxTests):
    pass


class TestOnnxOfFixedSize(OnnxTests):
    shape = (2, 1, 6, 7, 8)


class TestOnnx2d(OnnxTests):
    shape = ("n", 1, "h", "w")


class TestOpenVino(OnnxTests):
    provider = "openvino"
    shape = ("n", 1, 6, 7, 8)

    @pytest.fixture(autouse=True)
    def openvino(self):
        pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def signs_in_mmengine(tmp_path_factory):
    pytest.importorskip("mmengine")
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("mmengine")
    (folder / "net.py").write_text(
        "import torch\n"
        "from mmengine.model import BaseModel\n"
        "from mmengine.registry import MODELS\n"
        "@MODELS.register_module()\n"
        "class Signs(BaseModel):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = torch.nn.Parameter(torch.ones(1))\n"
        "    def forward(self, inputs, data_samples=None, mode='tensor'):\n"
        "        return torch.cat([-inputs, inputs], 1) * self.scale\n"
    )
    (folder / "config.py").write_text(
        "custom_imports = dict(imports=['net'])\nmodel = dict(type='Signs')\n"
        "itk_infer = dict(spec=1, window=dict(patch_size=[6, 7, 8]))\n"
    )
    torch.save({"scale": torch.full((1,), 2.0)}, folder / "weights.pth")
    return folder / "config.py", folder / "weights.pth"


class TestMMEngine(BackendTests):
    @pytest.fixture
    def backend(self, signs_in_mmengine):
        backend = Predictor.from_mmengine(*signs_in_mmengine, device="cpu").backend
        windows = np.ones((1, 1, 6, 7, 8), np.float32)
        assert float(np.asarray(backend.forward(windows)).max()) == 2
        return backend
