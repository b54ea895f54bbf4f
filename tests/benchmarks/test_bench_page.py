from __future__ import annotations

import json

MACHINE = {
    "date": "2031-05-06",
    "processor": "Some processor",
    "family": "family 1, model 2",
    "cores": 8,
    "threads": 2,
    "flags": ["avx512_bf16"],
    "memory_gib": 31.4,
    "system": "Some system",
    "versions": {"itk_infer": {"python": "3.11.7", "numpy": "2.4.6"}},
}


def row(seconds, agreement=1.0, **more):
    return {"seconds": seconds, "peak_mib": 100 * seconds, "agreement": agreement, **more}


def ours(seconds, **more):
    inside = {"windows": 100, "network_seconds": 0.95 * seconds, "bare_seconds": 0.9 * seconds}
    return row(seconds, window_gflop=120.0, peak_gflops=500.0, **inside, **more)


ENGINE = {
    "machine": MACHINE,
    "minutes": 1,
    "found": {
        "rounds": {
            "nnunet": [row(50, 0.9912345678), row(70), row(60)],
            "ours-openvino": [ours(25.0), ours(30.0), ours(40.0)],
        }
    },
}


def test_ratios_are_of_figures_of_one_round_and_medians_of_rounds():
    import page

    text = page.text({"engine": ENGINE})
    nnunet, mine = (
        line for line in text.splitlines() if line.startswith(("| nnU-Net |", "| ours, OpenVINO fp32 | 3"))
    )
    assert nnunet.split(" | ")[1:] == ["60.0 (50.0 to 70.0)", "1.00", "6,000", "0.991234", " |"]
    assert mine.split(" | ")[1:] == ["30.0 (25.0 to 40.0)", "2.00", "3,000", "1", " |"]  # of 2, 2.33 and 1.5


def test_shares_of_the_peak_by_hand():
    import page

    # 12,000 GFLOP in 30 s is 400 of 500 GFLOP/s; alone in 27 s: 444. Outside: 1.5 s of 28.5 s, 15 ms a window.
    assert "| ours, OpenVINO fp32 | 500 | 444 | 89% | 400 | 80% | 5.3% | 15.0 |" in page.text({"engine": ENGINE})


def test_an_agreement_is_never_rounded_up_to_one():
    from tables import share

    assert share(0.9999999) == "0.999999"
    assert share(1.0) == "1"


def test_what_was_not_measured_is_said_and_draws_nothing():
    import page

    results = {"engine": ENGINE, "folder": {"machine": MACHINE, "found": {"skipped": "No images."}}}
    text = page.text(results)
    assert "No images." in text
    assert "performance/engine.svg" in text
    assert "folder-" not in text
    assert [name for name, _ in page.measured(results)] == ["engine"]


def test_parts_measured_on_two_machines_say_so():
    import page

    other = {**MACHINE, "processor": "Another one", "date": "2031-05-07"}
    rows = [{"ms": {"nnunet": 90.0, "monai": 40.0, "addcmul": 6.0, "ours": 12.0}, "error": 1e-7}]
    text = page.text({"engine": ENGINE, "accumulate": {"machine": other, "found": {"rounds": rows}}})
    assert "## Machine and versions 1\n\nSome processor" in text
    assert "## Machine and versions 2\n\nAnother one" in text
    assert "accumulate (2031-05-07)" in text
    assert "| ours, `HostAccumulator.add` | 12.0 | 2.00 |" in text


def test_every_part_writes_json_ready_figures(bench):
    from dataclasses import asdict

    from parts import PARTS

    assert list(PARTS) == [
        "engine",
        "export",
        "folder",
        "nnunet",
        "bundle",
        "depth",
        "accumulate",
        "accuracy",
        "failures",
        "start",
        "evaluate",
        "dicom",
        "classify",
        "postprocess",
    ]
    for figure in PARTS["engine"].figures(ENGINE["found"]):
        assert json.loads(json.dumps(asdict(figure)))["bars"] == {"nnU-Net": 60, "ours, OpenVINO fp32": 30.0}


def test_a_bundle_is_compared_round_by_round():
    from parts import bundle

    def row(seconds, differing):
        return {
            "cpu_seconds": seconds,
            "seconds": seconds,
            "peak_mib": 100,
            "differing": differing,
            "voxels": 2000,
        }

    found = {"rows": {"monai": [row(20, 0), row(40, 0)], "ours": [row(5, 3), row(8, 3)]}, "images": 2}
    text = "\n".join(bundle.section(found))
    assert "| ours, fp32 | 6.5 (5.0 to 8.0) | 4.5 |" in text
    assert "| 3 of 2,000 |" in text
    assert bundle.figures(found)[0].bars == {"monai.bundle run": 30, "ours, fp32": 6.5}


def test_model_folders_of_nnunet_are_compared_round_by_round():
    """CPU seconds 20 and 40 against 5 and 8: four and five times fewer, so 4.5."""
    from parts import nnunet

    def row(cpu, differing):
        common = {"seconds": 9.0, "peak_mib": 400.0, "first_window": 2.0, "foreground": 1000, "files": 4}
        return {"cpu_seconds": cpu, "differing": differing, **common}

    works = {
        "folder": {
            "nnunet": [row(20, 0), row(40, 0)],
            "ours": [row(5, 3), row(8, 3)],
            "ours-bf16": [row(5, 9)] * 2,
        }
    }
    text = "\n".join(nnunet.section({"works": works, "commands": {}}))
    assert (
        "|  | ours, fp32 | 6.5 (5.0 to 8.0) | 4.5 | 9.0 (9.0 to 9.0) | 2.0 | 1.0 | 400 | 1.00 | 3 of 1,000 |"
        in text
    )
    head, line = (row for row in text.splitlines() if row.startswith(("| work", "| ---")))
    assert head.count("|") == line.count("|") == 11
    (figure,) = nnunet.figures({"works": works})
    assert figure.bars["nnU-Net 2.8.1"] == 30


def test_commands_are_as_a_person_types_them():
    from parts.nnunet import printable

    assert printable("nnunet").startswith(
        "nnUNetv2_predict_from_modelfolder -i IN -o OUT -m MODEL -f 0 1 -device cpu"
    )
    assert printable("ours").startswith("itk_infer -i IN -o OUT -m MODEL --folds 0,1 --device cpu")


def test_programs_of_the_evaluation_side_by_side():
    from parts import evaluate

    def rows(seconds, values):
        return [{"seconds": seconds, "peak_mib": 200.0, "values": values}] * 3

    found = {f"organ {name}": rows(3.0, {"hd": 4.0}) for name in evaluate.NAMES}
    found["organ ours"] = rows(1.5, {"dice": 0.5, "hd": 4.0})
    found |= {"labels ours": rows(0.1, [0.5, 0.5]), "labels simpleitk": rows(0.2, [0.5, 0.75])}
    lines = evaluate.section({"rounds": found})
    assert any("| 3.00 (3.00 to 3.00) | 2.00 | 200 |  | 4.0000 |  |  |  |" in line for line in lines)
    assert any(line.endswith("| 0.20 (0.20 to 0.20) | 2.00 | 200 | 2e-01 |") for line in lines)


def test_sections_without_figures_stay_on_the_page():
    import page

    before = "# Old\n\n## Machine and versions\n\na\n\n## Window engine\n\n1 s\n\n## Post-processing\n\nold\n"
    new = "# Performance\n\n## Machine and versions\n\nb\n\n## Post-processing\n\nnew\n"
    found = page.with_sections(new, before, {"postprocess": {}})
    assert found == f"{new}\n## Earlier: machine and versions\n\na\n\n## Window engine\n\n1 s\n"
    assert page.with_sections(new, found, {"postprocess": {}}) == found
    assert page.with_sections(new, before, dict.fromkeys(page.PARTS)) == new
    assert page.with_sections(new, "", {}) == new
