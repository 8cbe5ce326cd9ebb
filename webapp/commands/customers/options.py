"""Options that several of the commands have."""

from pathlib import Path

import click

key_file_option = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key here (0600), not to stdout.",
)
