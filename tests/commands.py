"""Running `flask` commands in this process, on a home's database and broker."""

import json
import os
from typing import Any
from unittest.mock import patch

from click.testing import Result

from tests.receiver import Home
from webapp import create_app

RETENTION = {
    "SLUICE_RETENTION_RAW_BYTES": str(64 << 20),
    "SLUICE_RETENTION_RAW_SEGMENT_BYTES": str(16 << 20),
    "SLUICE_RETENTION_PROCESSED_BYTES": str(64 << 20),
    "SLUICE_RETENTION_PROCESSED_SEGMENT_BYTES": str(16 << 20),
}


def flask(home: Home, *arguments: str, stdin: str | None = None, **environment: str) -> Result:
    """Run one command; its exit code is the caller's to look at."""
    with patch.dict(os.environ, {**home.environment, **RETENTION, **environment}):
        app = create_app()
        result = app.test_cli_runner(catch_exceptions=False).invoke(args=list(arguments), input=stdin)
    app.extensions["sluice"].close()
    return result


def flask_json(home: Home, *arguments: str) -> Any:
    return json.loads(flask(home, *arguments, "--json").stdout)
