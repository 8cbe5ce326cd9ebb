"""Tables for people, in plain text."""

from collections.abc import Sequence

import click

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


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.1f}" if isinstance(cell, float) else in_a_line(cell)
