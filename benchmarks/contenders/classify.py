"""Classification of DICOM files, by the plain loop that such scripts have, and by this program; one a process.

    python -m contenders.classify make KIND FOLDER FILES
    python -m contenders.classify PROGRAM FOLDER [PRECISION]

KIND: native, jpegls, j2k, frames (one file of many frames of 1536 x 1024). PROGRAM: ``loop`` (each frame is read
from the file anew, decoded by pydicom, windowed, made 8 bits, resized by LANCZOS, in batches of 32 through
onnxruntime, rows into SQLite), ``ours``, or ``limit`` (the same threads
decode and run the network, and do nothing else). Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if sys.argv[1:2] != ["loop"]:
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # as our command does, before NumPy is imported

import numpy as np

SIZE, THREADS = 224, 2
SPEC = {
    "spec": 1,
    "task": "classify",
    "name": "mobile",
    "input": {
        "channels": ["grey"] * 3,
        "size": [SIZE, SIZE],
        "intensity": [{"op": "standardize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}],
    },
    "output": {"activation": "sigmoid", "labels": ["a", "b"]},
}
# MobileNetV2: expansion, channels, repeats, stride
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def network(path: Path) -> None:
    """The shape of MobileNetV2 with random weights, batch normalisation folded into them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(
        name: str,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        clip: bool = True,
    ):
        fan = kernel * kernel * channels_in // groups
        shape = (channels, channels_in // groups, kernel, kernel)
        values = rng.normal(0, np.sqrt(2 / fan), shape).astype(np.float32)
        number = len(weights)
        weights.extend((numpy_helper.from_array(values, f"w{number}"),))
        out = f"t{number}"
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node("Conv", [name, f"w{number}"], [out], strides=[stride] * 2, pads=pads, group=groups)
        )
        if clip:
            nodes.append(helper.make_node("Clip", [out, "low", "high"], [f"{out}c"]))
            return f"{out}c"
        return out

    weights.append(numpy_helper.from_array(np.float32(0), "low"))
    weights.append(numpy_helper.from_array(np.float32(6), "high"))
    name, have = conv("image", 3, 32, 3, 2), 32
    for expansion, channels, repeats, stride in BLOCKS:
        for number in range(repeats):
            before, step = name, stride if number == 0 else 1
            wide = have * expansion
            inner = conv(name, have, wide, 1) if expansion > 1 else name
            name = conv(conv(inner, wide, wide, 3, step, wide), wide, channels, 1, clip=False)
            if step == 1 and have == channels:
                nodes.append(helper.make_node("Add", [before, name], [f"{name}s"]))
                name = f"{name}s"
            have = channels
    name = conv(name, have, 1280, 1)
    weights.append(numpy_helper.from_array(rng.normal(0, 0.01, (1280, 2)).astype(np.float32), "last"))
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["y"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "g", [image], [answer], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"itk_infer": json.dumps(SPEC)})
    onnx.save(model, path)


def make(kind: str, folder: Path, files: int) -> None:
    """Slices of 512 x 512 that compress about as a CT does; the network beside their folder."""
    import imagecodecs

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    from support.dicom_files import compressed, save, slice_of

    rng = np.random.default_rng(1)
    y, x = np.meshgrid(np.linspace(-1, 1, 512), np.linspace(-1, 1, 512), indexing="ij", sparse=True)
    about = {
        "BitsStored": 12,
        "HighBit": 11,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "WindowCenter": "40",
        "WindowWidth": "400",
    }
    planes = []
    for k in range(files):
        body = (x**2 + y**2 * 1.4 < 0.7) * (1000 + 120 * np.sin(9 * x) * np.cos(7 * y + 0.02 * k))
        planes.append(np.clip(body + rng.normal(40, 12, (512, 512)), 0, 4095).astype(np.uint16))
    encoders = {
        "jpegls": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
        "j2k": (
            "1.2.840.10008.1.2.4.90",
            lambda p: imagecodecs.jpeg2k_encode(p, codecformat="J2K", reversible=True),
        ),
    }
    if kind == "frames":
        from pydicom.encaps import encapsulate

        wide = [np.kron(plane, np.ones((3, 2), np.uint16)) for plane in planes]
        ds = slice_of(0, wide[0], **about)
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
        ds.NumberOfFrames = files
        ds.PixelData = encapsulate([imagecodecs.jpegls_encode(plane) for plane in wide])
        save(ds, folder / "frames.dcm")
    for k, plane in enumerate(planes if kind != "frames" else ()):
        ds = slice_of(k, plane, **about)
        if kind in encoders:
            syntax, encode = encoders[kind]
            compressed(ds, encode(plane), syntax)
        save(ds, folder / f"{k // 20:03d}" / f"{k:05d}.dcm")
    network(folder.parent / "mobile.onnx")


def loop(folder: Path, _: str) -> int:
    """The plain loop, written down from what such scripts do."""
    import onnxruntime
    import pydicom
    from PIL import Image

    session = onnxruntime.InferenceSession(str(folder.parent / "mobile.onnx"), providers=["CPUExecutionProvider"])
    mean, std = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    tasks = []
    for path in sorted(folder.rglob("*.dcm")):
        frames = int(pydicom.dcmread(path).get("NumberOfFrames", 1))
        tasks += [(path, frame) for frame in range(frames)]
    with tempfile.TemporaryDirectory() as scratch, sqlite3.connect(Path(scratch, "r.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE r (id TEXT PRIMARY KEY, study TEXT, a REAL, b REAL)")
        for name in ("study", "a", "b"):
            db.execute(f"CREATE INDEX i_{name} ON r ({name})")
        for start in range(0, len(tasks), 32):
            batch = []
            for path, frame in tasks[start : start + 32]:
                ds = pydicom.dcmread(path)
                pixels = ds.pixel_array
                pixels = pixels[frame] if pixels.ndim == 3 else pixels
                values = pixels.astype(np.float32) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
                low = float(ds.WindowCenter) - float(ds.WindowWidth) / 2
                values = np.clip(values, low, low + float(ds.WindowWidth))
                values = (values - values.min()) / max(values.max() - values.min(), 1e-6)
                image = Image.fromarray((values * 255).astype(np.uint8)).convert("RGB")
                image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
                batch.append(((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1))
            logits = session.run(None, {"image": np.stack(batch).astype(np.float32)})[0]
            found = 1 / (1 + np.exp(-logits))
            for (path, frame), row in zip(tasks[start : start + 32], found, strict=True):
                name = f"{path.stem}_frame{frame:04d}"
                db.execute(
                    "INSERT OR IGNORE INTO r VALUES (?, ?, ?, ?)",
                    (name, path.parent.name, float(row[0]), float(row[1])),
                )
            db.commit()
    return len(tasks)


def ours(folder: Path, precision: str) -> int:
    from itk_infer.classify.run import classify_folder
    from itk_infer.classify.settings import ClassifySettings

    def load() -> Any:
        from itk_infer.classifier import Classifier  # meanwhile the first pictures are read, as in the command

        return Classifier.load(
            folder.parent / "mobile.onnx", device="cpu", precision=precision, threads=THREADS, calls=THREADS
        )

    with tempfile.TemporaryDirectory() as out:
        summary = classify_folder(load, ClassifySettings(folder, Path(out), threads=THREADS))
        if summary.exit_code:
            raise SystemExit(f"exit code {summary.exit_code}: {summary.problem}")
    return summary.images


def limit(folder: Path, precision: str) -> int:
    """Threads that decode, and run the network on zeros: what no program can be faster than."""
    from itk_infer.classifier import Classifier
    from itk_infer.classify.work import threads_on
    from itk_infer.volume.picture_input.opening import open_pictures

    classifier = Classifier.load(
        folder.parent / "mobile.onnx", device="cpu", precision=precision, threads=THREADS, calls=THREADS
    )
    zeros = [np.zeros((8, 3, SIZE, SIZE), np.float32)]

    def decode(path: Path) -> None:
        pictures = open_pictures(path)
        for frame in range(pictures.facts.frames):
            pictures.picture(frame)

    tasks: queue.Queue[Callable[[], object]] = queue.Queue()
    files = sorted(folder.rglob("*.dcm"))
    if len(files) > 1:
        for path in files:
            tasks.put(partial(decode, path))
    else:  # its frames, over the threads
        one = open_pictures(files[0])
        one.check()
        for frame in range(one.facts.frames):
            tasks.put(partial(one.picture, frame))
    counts = []

    def work() -> None:
        count = 0
        while True:
            try:
                tasks.get_nowait()()
            except queue.Empty:
                break
            count += 1
            if count % 8 == 0:
                classifier.model.scores(zeros)
        if count % 8:
            classifier.model.scores([zeros[0][: count % 8]])
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(threads_on(classifier, THREADS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


PROGRAMS = {"loop": loop, "ours": ours, "limit": limit}


def main() -> None:
    if sys.argv[1] == "make":
        make(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        print("{}")
        return
    program, folder, precision = PROGRAMS[sys.argv[1]], Path(sys.argv[2]), (*sys.argv[3:], "fp32")[0]
    wall, cpu = time.perf_counter(), time.process_time()
    images = program(folder, precision)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": wall, "cpu": cpu, "images": images, "peak_mib": peak}))


if __name__ == "__main__":
    main()
