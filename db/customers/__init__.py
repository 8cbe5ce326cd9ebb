"""A customer's row and what hangs on it: keys, pipelines, routes, the use of its quota."""
