"""Tables for people, in plain text."""

from collections.abc import Mapping, Sequence

import click

from webapp.terminal import documents
from webapp.terminal.output import in_a_line

Cell = str | int | float | None


def show(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print the rows under their headers, numbers to the right; None is a dash."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headers, *texts, strict=True)]
    numbers = [
        bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        for index in range(len(headers))
    ]
    for cells in [list(headers), *texts]:
        aligned = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, numbers, strict=True)
        )
        click.echo("  ".join(aligned).rstrip())


def show_fields(document: Mapping[str, object], width: int) -> None:
    """Print a name and its value a line, as `documents.echo` has them; what is not known is a dash."""
    for name, value in document.items():
        shown = documents.plain(value, name)
        text = in_a_line("-" if shown in (None, [], {}) else str(shown))
        click.echo(f"{name.replace('_', ' '):<{width}} {text}")


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.1f}" if isinstance(cell, float) else in_a_line(cell)
