"""One case, step by step: its plan, its workspace, the prepared volume, inference, its outputs."""
