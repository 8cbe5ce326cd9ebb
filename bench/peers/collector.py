"""rotel: a collector written in Rust. It reads the requests and throws the spans away (its `blackhole`).

It stores nothing: it says what receiving and reading alone cost a program that is not in Python.
"""

from pathlib import Path

_BINARY = "python*/site-packages/rotel/rotel-agent"


def command(environment: Path, *, http: str, grpc: str) -> str:
    """What starts it, from the virtual environment that it is installed in; the addresses are HOST:PORT.

    Raises FileNotFoundError when it is not there.
    """
    binary = next((environment / "lib").glob(_BINARY), None)
    if binary is None:
        raise FileNotFoundError(f"{environment} has no rotel: `make bench` installs it")
    if not binary.stat().st_mode & 0o100:
        binary.chmod(0o755)
    return f"{binary} start --otlp-http-endpoint {http} --otlp-grpc-endpoint {grpc} --exporter blackhole"
