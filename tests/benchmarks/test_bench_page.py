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


def test_every_part_says_where_and_when_it_was_measured():
    import page

    other = {**MACHINE, "processor": "Another one", "date": "2031-05-07"}
    rows = [{"ms": {"nnunet": 90.0, "monai": 40.0, "addcmul": 6.0, "ours": 12.0}, "error": 1e-7}]
    text = page.text({"engine": ENGINE, "accumulate": {"machine": other, "found": {"rounds": rows}}})
    assert "Measured on 2031-05-06: Some processor (family 1, model 2), 8 cores" in text
    assert "Measured on 2031-05-07: Another one" in text
    assert "Environments: `itk_infer`: python 3.11.7, numpy 2.4.6." in text
    assert "| ours, `HostAccumulator.add` | 12.0 | 2.00 |" in text


def test_a_part_that_is_not_measured_anew_stays_on_the_page():
    import page

    rows = [{"ms": {"nnunet": 90.0, "monai": 40.0, "addcmul": 6.0, "ours": 12.0}, "error": 1e-7}]
    accumulate = {"machine": MACHINE, "found": {"rounds": rows}}
    faster = {**ENGINE, "found": {"rounds": {"nnunet": [row(50)], "ours-openvino": [ours(12.5)]}}}
    skipped = {"machine": MACHINE, "found": {"skipped": "No images."}}
    before = page.text({"engine": ENGINE, "accumulate": accumulate})
    after = page.text({"engine": faster, "accumulate": skipped}, before)
    assert after == page.text({"engine": faster, "accumulate": accumulate})
    assert page.text({}, after) == after


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
        "ensemble",
        "accumulate",
        "accuracy",
        "failures",
        "start",
        "evaluate",
        "dicom_reading",
        "dicom",
        "classify",
        "postprocess",
    ]
    for figure in PARTS["engine"].figures(ENGINE["found"]):
        assert json.loads(json.dumps(asdict(figure)))["bars"] == {"nnU-Net": 60, "ours, OpenVINO fp32": 30.0}


def test_a_bundle_is_compared_round_by_round():
    from parts import bundle

    def row(seconds, differing, **stages):
        return {
            "cpu_seconds": seconds,
            "seconds": seconds,
            "peak_mib": 100,
            "differing": differing,
            "voxels": 2000,
            "stages": stages,
        }

    ours = [row(5, 3, read=0.5, network=3), row(8, 3, read=0.5, network=5)]
    rows = {"monai": [row(20, 0), row(40, 0)], "ours": ours}
    network = {
        "windows": 100,
        "window_gflop": 2.0,
        "openvino_seconds": 0.03,
        "torch_seconds": 0.05,
        "peak_gflops": 200.0,
        "errors": {"torch": 6e-6, "plain": 0.0195, "ours": 2.6e-5, "largest": 7.31},
    }
    memory = {"NumPy": {"anonymous": 4.4, "mapped": 9.6}, "compiling": {"anonymous": 20.0, "mapped": -2.0}}
    found = {"work": {"unet": {"rows": rows, "network": network, "memory": memory}}}
    text = "\n".join(bundle.section(found))
    assert "| ours, fp32 | 6.5 (5.0 to 8.0) | 4.5 |" in text
    assert "| 3 of 2,000 |" in text
    assert "| unet | 100 | 2.00 | 5.0 | 3.0 | 1.0 | 33% | 10.0 | 6.5 |" in text
    assert "| unet | 0.50 | 0.00 | 4.00 | 0.00 | 0.00 | 2.00 |" in text  # of 1.5 and 2.5 s beside the stages
    assert "| worker of | NumPy | compiling | in all |" in text
    assert "| unet | 4 + 10 | 20 + -2 | 24 + 8 |" in text
    assert "| unet | 7.3 | 6e-06 | 2e-02 | 3e-05 |" in text
    seconds, memory = bundle.figures(found)
    assert seconds.bars == {"monai.bundle run, unet": 30, "ours, fp32, unet": 6.5}
    assert memory.bars == {"monai.bundle run, unet": 100, "ours, fp32, unet": 100}


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


def test_the_limit_of_nnunets_network_by_hand():
    """8 windows of 250 GFLOP: 2,000; at 100 GFLOP/s 20 s, which is 2.5 times fewer than 50."""
    from parts import nnunet_profile

    def seen(peak, **more):
        return [{"window_gflop": 250.0, "peak_gflops": peak, "bare": 3.125, "windows": 8, **more}]

    found = {
        "nnunet": seen(80.0, engine=40.0, network=32.0),
        "ours": seen(100.0, engine=25.0, network=24.0),
        "ours-bf16": [{"window_gflop": 250.0, "peak_gflops": 200.0, "bare": 2.5}],
    }
    text = nnunet_profile.limit(found, {"nnunet": [{"cpu_seconds": 50.0}]})
    assert "| nnU-Net 2.8.1, torch | 80 | 80 | 100% | 50 | 62% | 25.0% | 1000 | 25.0 | 2.0 |" in text
    assert "| ours, OpenVINO fp32 | 100 | 80 | 80% | 80 | 80% | 4.2% | 125 | 20.0 | 2.5 |" in text
    assert "| ours, OpenVINO bf16 | 200 | 100 | 50% |  |  |  |  | 10.0 | 5.0 |" in text


def test_what_memory_is_made_of():
    from parts import nnunet_profile

    stages = [{"name": f"stage {n}", "after": 100.0 * n, "peak": 100.0 * n + 7} for n in range(6)]
    works = {name: {"nnunet": [{"peak_mib": 1200.0}]} for name in ("folder", "usual")}
    found = {"folder": stages, "usual": stages}
    text = nnunet_profile.memory(found, works, {"folder": "small", "usual": "large"})
    assert "| stage | small | at most | large | at most |" in text
    assert "| stage 5 | 500 | 507 | 500 | 507 |" in text
    assert "| libraries alone, before the weights |  | 200 |  | 200 |" in text
    assert "| a quarter of nnU-Net's |  | 300 |  | 300 |" in text


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
