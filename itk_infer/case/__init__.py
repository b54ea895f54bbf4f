"""One case, step by step: its plan, its place, the prepared volume, its sinks. The predictor joins them."""
