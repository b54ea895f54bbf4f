"""Execution of cases: in this process, in worker processes, on a cluster."""
