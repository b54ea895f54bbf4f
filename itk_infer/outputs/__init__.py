"""Sinks: each takes decided slabs and commits one file. Knows no windows, backends or devices."""
