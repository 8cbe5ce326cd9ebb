"""`flask doctor`: is this installation well, and what is to be done about it?"""

from dataclasses import asdict

import click
from flask.cli import with_appcontext

from db.settings import DatabaseSettings
from streams import StreamSettings
from webapp.doctor.checks import CHECKS
from webapp.doctor.examined import Examined
from webapp.doctor.findings import CheckVerdict, Finding, findings
from webapp.settings import retention_settings
from webapp.terminal import command_context, documents
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Exit


@click.command("doctor", cls=Command)
@json_option
@click.pass_context
@with_appcontext
def command(context: click.Context, as_json: bool) -> None:
    """Check settings, database, broker, disks, clocks and processes; change nothing; exit 6 if one FAILs."""
    examined = Examined(
        database=DatabaseSettings(),
        streams=StreamSettings(),
        http=command_context.parts().settings,
        retention=retention_settings(),
        broker=command_context.parts().broker,
    )
    with command_context.broker():
        found = findings(CHECKS, examined)
    if as_json:
        documents.echo({"checks": [asdict(one) for one in found]})
    else:
        _print(found)
    failed = any(one.verdict is CheckVerdict.FAIL for one in found)
    context.exit(Exit.MISCONFIGURED if failed else Exit.OK)


def _print(found: list[Finding]) -> None:
    width = max(len(one.check) for one in found)
    for one in found:
        remedy = f" — {one.remedy}" if one.remedy else ""
        click.echo(f"{one.verdict:<4}  {one.check:<{width}}  {one.found}{remedy}")
