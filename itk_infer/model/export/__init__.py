"""From a loaded model to one ONNX file that holds its network and its spec."""
