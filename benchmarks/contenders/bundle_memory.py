"""What the memory of our worker consists of, when it runs a bundle.

    python -m contenders.bundle_memory BUNDLE IMAGE

Does what a worker does, one thing after the other, and prints one JSON object: for each, the MiB that the process
has more than before, of its own (`anonymous`) and of files of libraries that are mapped into it (`mapped`).
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

Parts = dict[str, dict[str, float]]


def main() -> None:
    bundle, image = sys.argv[1:]
    parts: Parts = {}
    note(parts, "Python")
    importlib.import_module("numpy")
    note(parts, "NumPy")
    importlib.import_module("itk_infer.executors.worker")
    importlib.import_module("itk_infer.executors.case_files")
    note(parts, "modules of itk_infer")
    from itk_infer import Options
    from itk_infer.case.case import Case
    from itk_infer.executors.case_files import run_case
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.executors.messages import Finished, Task
    from itk_infer.model.runtimes.openvino import OpenVinoNetwork, import_openvino

    import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    note(parts, "OpenVINO")
    options = Options(device="cpu", precision="fp32", threads=1, orientation="input")
    predictor = ModelRequest((Path(bundle),), None, options).load()
    compile_network = OpenVinoNetwork._compile

    def watched(*words: Any) -> Any:
        note(parts, "model, image, first window by NumPy")
        compiled = compile_network(*words)
        note(parts, "compiling")
        return compiled

    OpenVinoNetwork._compile = watched  # type: ignore[method-assign]
    case = Case(PurePosixPath("."), "case", ".nii.gz", (Path(image),))
    with tempfile.TemporaryDirectory() as folder:
        task = Task(case, Path(folder), (("labels", Path(folder, "case.nii.gz")),))
        outcome = run_case(predictor, task, 0, lambda event: None, lambda: None)
    if not isinstance(outcome, Finished):
        raise SystemExit(str(outcome))
    note(parts, "windows and label map")
    print(json.dumps(parts))


def note(parts: Parts, what: str) -> None:
    """Store what the process has more than before; below 0 where it has returned memory."""
    text = Path("/proc/self/smaps_rollup").read_text()
    sizes = {key: int(kib) / 1024 for key, kib in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    own, resident = sizes["Anonymous"], sizes["Rss"]
    now = {"anonymous": own, "mapped": resident - own}
    before = {key: sum(part[key] for part in parts.values()) for key in now}
    parts[what] = {key: value - before[key] for key, value in now.items()}


if __name__ == "__main__":
    main()
