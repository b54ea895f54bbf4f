"""Cases, the plan, the ledger, events and the run. Knows no arrays and no networks."""
