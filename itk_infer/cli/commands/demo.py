"""``itk_infer demo``: the main job on two bundled scans, and a picture of what was found."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import click

from itk_infer.cli.options import PATH, GroupedCommand, option

MODEL = "hippocampus_unet.onnx"
SIDES = {"right": "mni152_hippocampus_right.nii.gz", "left": "mni152_hippocampus_left.nii.gz"}


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@option(
    "-o",
    "--output",
    heading="Output",
    type=PATH,
    default=Path("demo_output"),
    show_default=True,
    help="Output folder; created.",
)
def demo_command(output: Path) -> int:
    """Segment both hippocampi of a bundled brain template on the CPU, and draw what was found.

    Two crops of the ICBM152 T1 template and a small 3D U-Net come with the package. Label maps,
    confidences.xlsx and demo.png are written to the output folder.
    """
    import SimpleITK as sitk

    from itk_infer.cli.progress import Lines
    from itk_infer.cli.summary import print_summary
    from itk_infer.events import Events
    from itk_infer.outputs.overlay import Drawn, draw_cases
    from itk_infer.predictor import Predictor
    from itk_infer.run.destination import with_destination
    from itk_infer.run.folder import run_folder
    from itk_infer.run.ledger import Ledger
    from itk_infer.run.settings import RunSettings

    with resources.as_file(resources.files("itk_infer") / "demo") as bundled:
        predictor = Predictor.from_onnx(bundled / MODEL, device="cpu")
        settings = with_destination(RunSettings(bundled, output, save_conf=True))
        summary = run_folder(predictor, settings, Events([Lines(quiet=False, verbose=False)]), sys.argv)
        print_summary(summary, settings, verbose=False)
        if summary.failed or summary.exit_code:
            return summary.exit_code
        ledger = Ledger(output, read_only=True)
        records = ledger.cases()
        ledger.close()
        table = predictor.spec.output.label_table(predictor.backend.shape.channels_out or 0)
        rows = []
        for side, name in SIDES.items():
            results = records[name].results or {}
            findings = {finding["value"]: finding for finding in results["findings"]}
            click.echo(f"{side} hippocampus, confidence {results['confidence_foreground']:.3f}")
            for label in table:
                found = findings[label.value]
                click.echo(f"  {label.name:<24}{found['voxels']:>6} voxels{found['volume_ml']:>8.2f} ml")
            notes = tuple((label, f"{findings[label.value]['volume_ml']:.2f} ml") for label in table)
            title = f"{side.capitalize()} hippocampus, confidence {results['confidence_foreground']:.2f}"
            image, labels = (sitk.ReadImage(str(folder / name)) for folder in (bundled, output))
            rows.append(Drawn(title, image, labels, notes))
    picture = output / "demo.png"
    draw_cases(picture, rows)
    click.echo(f"picture: {picture}")
    return 0
