"""OTLP's log records: from an export in protobuf or JSON to a table of them."""
