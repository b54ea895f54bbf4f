"""Sinks: each takes decided slabs and commits one file. Imports no windows, backends or devices."""
