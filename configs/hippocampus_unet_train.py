"""Trains the demo network with MMEngine's Runner; the spec for inference comes along from the base."""

_base_ = "hippocampus_unet.py"

data_root = "hippocampus"  # holds images/ and labels/; override it where you train

cases = dict(
    type="VolumeFolder",
    images=data_root + "/images",
    labels=data_root + "/labels",
    size=[40, 56, 44],
    orientation="RAS",
)

train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=cases,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=cases,  # give other cases here: Dice on the cases trained on flatters
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
val_evaluator = dict(type="MeanDice", labels=[1, 2])

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-4, weight_decay=1e-4))
param_scheduler = dict(type="PolyLR", power=0.9, eta_min=1e-6, end=100, by_epoch=True)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
custom_hooks = [dict(type="EMAHook", momentum=0.01)]
default_hooks = dict(checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=2))
randomness = dict(seed=0)
