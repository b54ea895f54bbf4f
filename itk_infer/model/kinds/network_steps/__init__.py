"""Networks as lists of steps, which OpenVINO and NumPy run without torch."""
