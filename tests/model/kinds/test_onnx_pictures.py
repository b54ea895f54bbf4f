"""Networks that classify, built by OpenVINO while the first pictures are read."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("openvino", reason="needs the openvino extra")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from support.classify_files import CLASSIFY, brightness_network

from itk_infer.classifier import Classifier
from itk_infer.errors import ModelError
from itk_infer.model.runtimes import onnxruntime, openvino

WHITE = np.ones((3, 1, 8, 8), np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return brightness_network(tmp_path / "brightness.onnx", CLASSIFY)


def network(path: Path, **options: Any) -> Any:
    (loaded,) = Classifier.load(path, device="cpu", threads=2, calls=2, **options).model.networks
    return loaded


def test_it_is_loaded_before_it_is_built(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, build = threading.Event(), openvino.OpenVinoCalls

    def slowly(*words: Any) -> Any:
        assert go.wait(60)
        return build(*words)

    monkeypatch.setattr(openvino, "OpenVinoCalls", slowly)
    loaded = network(path)
    assert loaded.provider == "openvino"
    go.set()
    np.testing.assert_allclose(loaded.forward(WHITE), 5, atol=1e-5)


def test_onnxruntime_is_not_imported_where_openvino_runs_the_network(path: Path) -> None:
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from itk_infer.classifier import Classifier\n"
        "(loaded,) = Classifier.load(sys.argv[1], threads=2, calls=2, **eval(sys.argv[2])).model.networks\n"
        "loaded.forward(np.ones((3, 1, 8, 8), np.float32))\n"
        "print(loaded.provider, 'onnxruntime' in sys.modules)\n"
    )
    for options, expected in (({"device": "cpu"}, "openvino False"), ({"provider": "cpu"}, "cpu True")):
        command = [sys.executable, "-c", program, str(path), repr(options)]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == expected


def test_a_runtime_is_imported_to_find_gpus_unless_it_is_for_cpus_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = ["onnxruntime"]
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path / "onnxruntime")])
    monkeypatch.setattr(onnxruntime, "_distributions", lambda: installed)
    monkeypatch.setattr(onnxruntime.importlib.util, "find_spec", lambda name: package)
    monkeypatch.setattr(onnxruntime.sys, "prefix", str(tmp_path))
    assert onnxruntime.for_cpus_only()
    installed[:] = ["onnxruntime-gpu"]
    assert not onnxruntime.for_cpus_only()
    installed[:] = ["onnxruntime"]
    (tmp_path / "conda-meta").mkdir()
    assert not onnxruntime.for_cpus_only(), "conda's packages for GPUs have the same name"
    (tmp_path / "conda-meta").rmdir()
    (tmp_path / "onnxruntime/capi").mkdir(parents=True)
    (tmp_path / "onnxruntime/capi/libonnxruntime_providers_cuda.so").touch()
    assert not onnxruntime.for_cpus_only()


def test_a_network_that_no_library_can_run_is_refused_by_the_first_call(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[-1].op_type = "NoSuchOperation"
    onnx.save(model, path)
    loaded = network(path)
    with pytest.raises(ModelError, match="NoSuchOperation"):
        loaded.wait()
    with pytest.raises(ModelError, match="NoSuchOperation"):
        loaded.forward(WHITE)


def test_what_the_file_does_not_say_is_asked_of_onnxruntime(path: Path) -> None:
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    np.testing.assert_allclose(network(path).forward(WHITE), 5, atol=1e-5)


def test_what_cannot_be_built_is_run_by_onnxruntime_and_a_note_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no such layer")

    monkeypatch.setattr(openvino, "OpenVinoCalls", broken)
    loaded = network(path)
    np.testing.assert_allclose(loaded.forward(WHITE), 5, atol=1e-5)
    assert loaded.provider == "cpu"
    assert any("no such layer" in note for note in loaded.notes)


def test_half_precision_that_cannot_be_built_is_fp32_in_the_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = openvino.OpenVinoCalls

    def broken(file: Path, shape: Any, precision: str, *words: int) -> Any:
        if precision == "bf16":
            raise RuntimeError("no such layer")
        return build(file, shape, precision, *words)

    plain = Classifier.load(path, device="cpu", threads=2, calls=2)
    monkeypatch.setattr(openvino, "OpenVinoCalls", broken)
    monkeypatch.setattr(openvino, "reduced_precisions", lambda: ("bf16",))
    half = Classifier.load(path, device="cpu", threads=2, calls=2, precision="half")
    assert half.settle_precision([[picture] for picture in WHITE]) == ""
    assert half.model.networks[0].precision == "fp32"
    assert half.model.spec_digest == plain.model.spec_digest
    np.testing.assert_allclose(half.scores([[WHITE[0]]]).logits, 5, atol=1e-5)


def test_each_precision_is_built_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for thread in threading.enumerate():  # which still build networks of other tests
        if thread.name == "build":
            thread.join()
    built, build = [], openvino.OpenVinoCalls

    def counted(file: Path, shape: Any, precision: str, *words: int) -> Any:
        built.append(precision)
        return build(file, shape, "fp32", *words)

    monkeypatch.setattr(openvino, "OpenVinoCalls", counted)
    monkeypatch.setattr(openvino, "reduced_precisions", lambda: ("bf16",))
    loaded = network(path, precision="half")
    for precision in ("fp32", "bf16", "bf16"):
        loaded.in_precision(precision)
        assert loaded.precision == precision
        np.testing.assert_allclose(loaded.forward(WHITE), 5, atol=1e-5)
    assert sorted(built) == ["bf16", "fp32"]
