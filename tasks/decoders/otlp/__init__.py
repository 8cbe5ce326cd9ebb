"""The decoders of OTLP traces, in protobuf and JSON."""
