"""What a customer's pipeline may say: its steps, their validation, and the one a new customer starts with."""

from pipelines.default import DEFAULT
from pipelines.definition import BadPipeline, Pipeline, parse

__all__ = ["DEFAULT", "BadPipeline", "Pipeline", "parse"]
