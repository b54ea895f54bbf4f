"""Between the engine and a backend: smaller calls, mirroring, empty windows, checks of the outputs."""
