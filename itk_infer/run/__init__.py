"""Cases, the plan, the ledger, events and the run. Imports no arrays and no networks."""
