"""The ledger and the results: engine, tables, and one module per kind of write."""
