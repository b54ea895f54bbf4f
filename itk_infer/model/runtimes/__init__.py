"""What computes a network: onnxruntime, OpenVINO, and the number format it runs in."""
