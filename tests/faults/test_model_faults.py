"""Model files that are torn or claim what cannot be: refused with exit code 5 and a reason, by the whole program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__import__("itk_infer").__file__).parent / "demo"


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def torn(path: Path) -> None:
    path.write_bytes((DEMO / "hippocampus_unet.onnx").read_bytes()[:-5000])


def boundless(path: Path) -> None:
    """A protobuf whose graph claims two exabytes."""
    path.write_bytes(b"\x3a" + varint(2**61) + b"\0" * 100)


def huge_weights(path: Path) -> None:
    """Weights of 2**40 numbers, of which the file holds none."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.TensorProto(name="w", data_type=kind, dims=[2**20, 2**20], raw_data=b"")
    shape = ("n", 1, "z", "y", "x")
    graph = helper.make_graph(
        [helper.make_node("Add", ["i", "w"], ["o"])],
        "g",
        [helper.make_tensor_value_info("i", kind, shape)],
        [helper.make_tensor_value_info("o", kind, shape)],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def deep_spec(path: Path) -> None:
    """A spec so deep that a parser runs out of stack."""
    path.write_bytes((DEMO / "hippocampus_unet.onnx").read_bytes())
    path.with_suffix(".spec.json").write_text('{"input": ' + "[" * 100_000 + "]" * 100_000 + "}")


@pytest.mark.parametrize("make", [torn, boundless, huge_weights, deep_spec])
def test_a_false_model_is_refused(batch, make):
    batch.scan("a.mha")
    make(batch.folder / "model.onnx")
    words = ["-i", "in", "-o", "out", "--onnx", "model.onnx", "--device", "cpu", "--wl", "0", "--ww", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "itk_infer", *words, "--progress", "json"],
        cwd=batch.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode in (2, 5), done.stderr
    assert done.stdout == ""
    assert "model" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (batch.folder / "out").exists()
    assert len(done.stderr.splitlines()) == 1
