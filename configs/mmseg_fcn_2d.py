"""A 2D segmentor of MMSegmentation, run plane by plane, with the keys that such configs have had all along."""

default_scope = "mmseg"

wl = 50
ww = 400

norm_cfg = dict(type="BN", requires_grad=True)

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[0.5], std=[0.25]),
    backbone=dict(
        type="UNet",
        in_channels=1,
        base_channels=8,
        num_stages=3,
        strides=(1, 1, 1),
        enc_num_convs=(2, 2, 2),
        dec_num_convs=(2, 2),
        downsamples=(True, True),
        enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="FCNHead",
        in_channels=16,
        in_index=1,
        channels=8,
        num_convs=1,
        num_classes=4,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    test_cfg=dict(mode="slide", crop_size=(64, 64), stride=(32, 32)),
)
