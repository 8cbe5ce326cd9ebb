"""gunicorn's own lines as JSON, for `SLUICE_LOG_FORMAT=json`."""

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped] # ships no types

from supervision import JsonLines


class JsonLogger(Logger):  # type: ignore[misc] # the same
    """gunicorn's logger, with another form. Its `logconfig_dict` would log each request, too."""

    def setup(self, cfg: Any) -> None:
        """Called at the start and at a reload."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonLines())
