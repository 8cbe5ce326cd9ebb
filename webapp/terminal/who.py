"""Who does what an operator asks for, and why; and asking before what cannot be undone."""

import getpass

import click


def _words(context: click.Context, param: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say something", context, param)
    return value


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown"


by_default = click.option("--by", default=_os_user, callback=_words, help="Who does it; else the OS user.")
by_required = click.option("--by", required=True, callback=_words, help="Who does it.")
why_optional = click.option("--why", default="", help="Kept in the note.")
why_required = click.option("--why", required=True, callback=_words, help="Kept in the note.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirmed(question: str) -> bool:
    """Whether somebody answers yes; False when nobody is there to answer."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        return False


def typed(question: str, wanted: str) -> bool:
    """Whether somebody types the word in answer; False when nobody is there to answer."""
    try:
        answer: str = click.prompt(question, err=True, default="", show_default=False)
    except click.Abort:
        return False
    return answer.strip() == wanted
