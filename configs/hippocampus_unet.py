"""The demo model: anterior and posterior hippocampus in a cropped T1 MRI."""

custom_imports = dict(imports=["itk_infer.networks"])

model = dict(
    type="Segmentor3D",
    network=dict(type="UNet3D", in_channels=1, n_classes=3, base=8, norm="instance"),
)

itk_infer = dict(
    spec=1,
    name="hippocampus_unet",
    version="1.0",
    licence="weights: project's own; training data CC-BY-SA 4.0 (Medical Segmentation Decathlon, Task04)",
    description="Anterior and posterior hippocampus in a cropped T1 MRI.",
    input=dict(
        channels=["T1"],
        orientation="RAS",
        spacing=None,
        size=None,
        intensity=[dict(op="zscore", mask="all")],
        padding=dict(mode="constant", value=0.0),
    ),
    window=dict(
        patch_size=[40, 56, 40],
        patch_stride=[20, 28, 20],
        blend="gaussian",
        multiple_of=[4, 4, 4],
    ),
    output=dict(
        values="logits",
        decision="argmax",
        labels=[
            dict(
                value=1,
                name="anterior hippocampus",
                color="#e6194b",
                code=dict(type="Hippocampus", modifier="Anterior"),
            ),
            dict(
                value=2,
                name="posterior hippocampus",
                color="#ffe119",
                code=dict(type="Hippocampus", modifier="Posterior"),
            ),
        ],
    ),
)
