"""The ledger: what was intended, submitted, seen, judged and accepted."""
