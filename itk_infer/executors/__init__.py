"""Who computes the cases: this process, worker processes, a cluster."""
