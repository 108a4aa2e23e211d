"""Reports and metrics: what campaigns cost and made, from the ledger alone."""
