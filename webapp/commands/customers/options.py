"""Options that several of the commands have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from webapp.terminal.exits import Ended, Exit

key_file_option = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key here (0600), not to stdout.",
)


@contextmanager
def key_kept(path: Path | None) -> Iterator[None]:
    """For what keeps a key in the file. Raises Ended when that cannot be read or written."""
    try:
        yield
    except OSError as error:
        if path is None:
            raise
        raise Ended(Exit.REFUSED, f"the key cannot be written to {path}: {error.strerror}") from error
