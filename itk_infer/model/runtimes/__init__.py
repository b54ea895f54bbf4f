"""Libraries that run networks (onnxruntime, OpenVINO, torch), and the number format of the weights."""
