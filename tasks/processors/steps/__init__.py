"""The steps of a pipeline, a module each, and their conditions."""
