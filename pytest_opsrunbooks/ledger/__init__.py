"""The ledger: what earlier sweeps saw, in SQLite."""
