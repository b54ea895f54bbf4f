"""A folder segmented with MONAI, as its tutorials do it.

    python -m contenders.folder_monai WORK IN OUT THREADS

Prints ``first window`` once the first window is done.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    work, source, target, threads = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    import torch
    from monai.data import Dataset, decollate_batch, list_data_collate
    from monai.inferers import sliding_window_inference
    from monai.transforms import (
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        SaveImaged,
        ScaleIntensityRanged,
        Spacingd,
    )

    from contenders.workload import network, weights

    torch.set_num_threads(threads)
    settings = json.loads((work / "work.json").read_text())
    lower, upper = settings["clip"]
    mean, std = settings["mean"], settings["std"]
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            ScaleIntensityRanged("image", lower, upper, (lower - mean) / std, (upper - mean) / std, clip=True),
            Spacingd("image", settings["spacing_xyz"], mode="bilinear", scale_extent=True),
        ]
    )
    after = Compose(
        [
            Invertd("pred", before, "image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
            SaveImaged(
                "pred",
                output_dir=target,
                output_postfix="",
                output_dtype="uint8",
                separate_folder=False,
                resample=False,
                print_log=False,
            ),
        ]
    )
    net = network(settings["classes"], tuple(settings["features"]))
    net.load_state_dict(torch.load(work / "network_xyz.pth"))
    patch = settings["patch"]
    exact = torch.from_numpy(weights("exact").astype("float32"))  # its own ends in a floor
    told = False

    def predict(windows):
        nonlocal told
        logits = net(windows)
        if not told:
            print("first window", flush=True)
            told = True
        return logits

    cases = Dataset([{"image": str(path)} for path in sorted(source.glob("*.nii.gz"))], before)
    for case in cases:
        batch = list_data_collate([case])
        with torch.inference_mode():
            batch["pred"] = sliding_window_inference(
                batch["image"], patch, 1, predict, overlap=0.5, mode="gaussian", roi_weight_map=exact
            )
            for item in decollate_batch(batch):
                after(item)


if __name__ == "__main__":
    main()
