"""Tables that are made from the ledger."""
