"""All benchmarks: contenders in turn, round after round, in processes and environments of their own.

    make bench                                  # or, with environments that are there:
    python benchmarks/bench.py --peers .venv-bench/bin/python --rounds 5

Writes ``benchmarks/results.json`` (every single figure) and ``docs/performance.md`` (medians, and the
ratios of figures of the same round).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / "scratch"
ENGINE = ("nnunet", "monai", "ours-onnxruntime", "ours-openvino", "ours-openvino-bf16")
EXPORT = ("nnunet-default", "nnunet-torch", "ours")


def one(python: str, *command: object) -> dict:
    words = [python, *(str(word) for word in command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=HERE)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def rounds(count: int, contenders: tuple[str, ...], run) -> list[dict[str, dict]]:
    found = []
    for index in range(count):
        found.append({name: run(name) for name in contenders})
        print(f"round {index + 1} of {count}:", {name: round(r["seconds"], 2) for name, r in found[-1].items()})
    return found


def engine(args: argparse.Namespace) -> list[dict[str, dict]]:
    folder = WORK / f"engine{args.classes}"
    if not (folder / "reference.npy").exists():
        subprocess.run([args.peers, "workload.py", folder, str(args.classes)], check=True, cwd=HERE)

    def run(name: str) -> dict:
        python = sys.executable if name.startswith("ours") else args.peers
        return one(python, "engine_peer.py", folder, args.classes, name, args.threads)

    return rounds(args.rounds, ENGINE, run)


def export(args: argparse.Namespace, classes: int) -> list[dict[str, dict]]:
    def run(name: str) -> dict:
        return one(sys.executable if name == "ours" else args.peers, "export_peer.py", classes, name, args.threads)

    return rounds(args.rounds, EXPORT, run)


def table(found: list[dict[str, dict]], base: str) -> list[str]:
    lines = [
        f"| contender | seconds | times faster than {base} | peak MiB | label agreement |",
        "|---|---|---|---|---|",
    ]
    for name in found[0]:
        seconds = [r[name]["seconds"] for r in found]
        ratio = statistics.median(r[base]["seconds"] / r[name]["seconds"] for r in found)
        peak = statistics.median(r[name]["peak_mib"] for r in found)
        agreement = min(r[name]["agreement"] for r in found)
        spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        lines.append(f"| {name} | {spread} | {ratio:.2f} | {peak:,.0f} | {agreement:.5f} |")
    return lines


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return names[0].partition(": ")[2] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peers", required=True, help="Python of an environment with nnunetv2 2.8.1 and monai 1.6.1"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    results = {
        "machine": {"processor": processor(), "threads": args.threads, "system": platform.platform()},
        "engine": engine(args),
        "export": {classes: export(args, classes) for classes in (14, 118)},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1))
    write_page(results, args)


def write_page(results: dict, args: argparse.Namespace) -> None:
    overhead = [r["ours-openvino"]["overhead"] for r in results["engine"]]
    page = [
        "# Performance",
        "",
        f"Written by `make bench`; nothing here is edited by hand. {args.rounds} rounds, contenders in turn; "
        "medians (smallest to largest), and ratios of figures of the same round.",
        "",
        f"Machine: {results['machine']['processor']}, {args.threads} threads; {results['machine']['system']}. "
        "Peers: nnU-Net 2.8.1 and MONAI 1.6.1 with torch 2.13.0.",
        "",
        "## Window engine",
        "",
        f"A PlainConvUNet of 32 to 320 channels, {args.classes} classes, random weights, 100 windows of "
        "64 x 64 x 64 over 160 x 192 x 192 voxels, no mirroring. Peers return logits; ours goes on to labels, "
        "counts and confidence within the time. Agreement is with fp32 windows blended in float64; with random "
        "weights many voxels are near ties, so reduced precision looks worse here than on trained networks.",
        "",
        *table(results["engine"], "nnunet"),
        "",
        f"Time of ours outside the network, with OpenVINO in fp32: {statistics.median(overhead):.1%}.",
        "",
    ]
    for classes, found in results["export"].items():
        page += [
            f"## Logits to labels on a grid twice as fine, {classes} classes",
            "",
            "64 x 128 x 128 to 128 x 256 x 256 voxels, smooth organs over a background. Memory is what is needed "
            "beyond the logits. Agreement is with linear interpolation of every channel in float64.",
            "",
            *table(found, "nnunet-default"),
            "",
        ]
    (HERE.parent / "docs" / "performance.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
