"""The mistakes that `test_mistakes.py` makes: what is started, in which environment, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from webapp.terminal.exits import Exit

# Parts of passwords that no message may hold.
SECRET = "s3same"
PART = "p4rt"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """`variables` and `words` may name the `{…}` of `places`; `says` is a piece of the sentence."""

    words: Sequence[str | bytes]
    variables: Mapping[str, str] = field(default_factory=dict)
    code: Exit
    says: str
    full: bool = False


def command(*words: str | bytes) -> Sequence[str | bytes]:
    return ("flask", *words)


LIST = command("customers", "list")
ADD = command("customers", "add", "mistaken")
DISPATCHER = ("tasks.dispatcher",)
WORKER = ("celery", "-A", "tasks", "worker", "-n", "mistaken@%h", "--concurrency=1")
FLOWER = ("celery", "-A", "tasks", "flower")
RECEIVER = ("gunicorn", "-c", "python:webapp.gunicorn", "webapp:create_app()")
MIGRATE = ("alembic", "upgrade", "head")
HEALTH = ("tasks.health", "worker", "-n", "nobody")

WRONG_PASSWORD = {"DATABASE_URL": "postgresql://sluice:" + SECRET + "@{postgres}/sluice"}
WRONG_BROKER_PASSWORD = {"BROKER_URL": "amqp://sluice:" + SECRET + "@{amqp}//"}
WRONG_STREAM_PASSWORD = {"STREAM_URL": "rabbitmq-stream://sluice:" + SECRET + "@{stream}/%2f"}
NO_FILE = {"DATABASE_URL": "sqlite:///{folder}/none.db"}

MISTAKES = {
    "another database": Mistake(
        words=LIST,
        variables={"DATABASE_URL": f"mysql://u:{SECRET}@h/x"},
        code=Exit.MISCONFIGURED,
        says="expected sqlite:///path or postgresql://",
    ),
    "an old scheme": Mistake(
        words=LIST,
        variables={"DATABASE_URL": f"postgres://u:{SECRET}@h/x"},
        code=Exit.MISCONFIGURED,
        says="write postgresql",
    ),
    "an unquoted @": Mistake(
        words=LIST,
        variables={"DATABASE_URL": f"postgresql://u:{SECRET}@{PART}@h/x"},
        code=Exit.MISCONFIGURED,
        says="write @ as %40",
    ),
    "an unquoted slash": Mistake(
        words=LIST,
        variables={"DATABASE_URL": f"postgresql://u:{SECRET}/{PART}@h/x"},
        code=Exit.MISCONFIGURED,
        says="/ as %2F",
    ),
    "a wrong password": Mistake(
        words=LIST, variables=WRONG_PASSWORD, code=Exit.MISCONFIGURED, says="password of DATABASE_URL"
    ),
    "no such database": Mistake(
        words=LIST,
        variables={"DATABASE_URL": "{postgres_login}/nowhere"},
        code=Exit.MISCONFIGURED,
        says="no database 'nowhere'",
    ),
    "no SQLite file": Mistake(
        words=LIST, variables=NO_FILE, code=Exit.MISCONFIGURED, says="`alembic upgrade head`"
    ),
    "another kind of file": Mistake(
        words=LIST,
        variables={"DATABASE_URL": "sqlite:///{folder}/text"},
        code=Exit.MISCONFIGURED,
        says="no SQLite database",
    ),
    "a database that is away": Mistake(
        words=LIST,
        variables={"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/x"},
        code=Exit.UNAVAILABLE,
        says="the database is away",
    ),
    "another broker": Mistake(
        words=LIST,
        variables={"BROKER_URL": f"redis://:{SECRET}@h:6379/0"},
        code=Exit.MISCONFIGURED,
        says="BROKER_URL has the scheme 'redis'",
    ),
    "the broker's other URL": Mistake(
        words=LIST,
        variables={"STREAM_URL": f"amqp://u:{SECRET}@h//"},
        code=Exit.MISCONFIGURED,
        says="expected rabbitmq-stream",
    ),
    "a port that is none": Mistake(
        words=LIST,
        variables={"BROKER_URL": f"amqp://u:{SECRET}@h:amqp//"},
        code=Exit.MISCONFIGURED,
        says="host or port that is none",
    ),
    "a wrong password of the broker": Mistake(
        words=ADD, variables=WRONG_BROKER_PASSWORD, code=Exit.MISCONFIGURED, says="password of BROKER_URL"
    ),
    "a wrong password for streams": Mistake(
        words=ADD, variables=WRONG_STREAM_PASSWORD, code=Exit.MISCONFIGURED, says="password of STREAM_URL"
    ),
    "no such vhost": Mistake(
        words=ADD,
        variables={"STREAM_URL": "{stream_login}/nowhere"},
        code=Exit.MISCONFIGURED,
        says="vhost of STREAM_URL",
    ),
    "a number that is none": Mistake(
        words=LIST,
        variables={"SLUICE_HTTP_THREADS": "many"},
        code=Exit.MISCONFIGURED,
        says="SLUICE_HTTP_THREADS='many'",
    ),
    "a number out of bounds": Mistake(
        words=LIST,
        variables={"SLUICE_DB_POOL_SIZE": "0"},
        code=Exit.MISCONFIGURED,
        says="SLUICE_DB_POOL_SIZE",
    ),
    "a misspelt name": Mistake(
        words=LIST,
        variables={"SLUICE_HTTP_BODY_BYTE": "1"},
        code=Exit.MISCONFIGURED,
        says="did you mean SLUICE_HTTP_BODY_BYTES?",
    ),
    "a name of our own": Mistake(
        words=LIST,
        variables={"SLUICE_XYZZY": "1"},
        code=Exit.MISCONFIGURED,
        says="'SLUICE_XYZZY' is no setting (docs/settings.md",
    ),
    "a secret twice": Mistake(
        words=LIST,
        variables={"DATABASE_URL_FILE": "{folder}/text"},
        code=Exit.MISCONFIGURED,
        says="DATABASE_URL and DATABASE_URL_FILE are both set",
    ),
    "no such secret": Mistake(
        words=LIST,
        variables={"BROKER_URL": "", "BROKER_URL_FILE": "{folder}/none"},
        code=Exit.MISCONFIGURED,
        says="BROKER_URL_FILE names",
    ),
    "a number that no database keeps": Mistake(
        words=command("quarantine", "show", "9223372036854775808"), code=Exit.USAGE, says="is beyond"
    ),
    "a slug that is not UTF-8": Mistake(
        words=command("customers", "show", b"ac\xffme"), code=Exit.USAGE, says="is no UTF-8 text"
    ),
    "a customer that is not there": Mistake(
        words=command("customers", "show", "nobody"), code=Exit.NOT_FOUND, says="flask customers list"
    ),
    "a slug that breaks the rules": Mistake(
        words=command("customers", "add", "Not_A_Slug"), code=Exit.REFUSED, says="Not_A_Slug"
    ),
    "a full disk": Mistake(
        words=LIST, code=Exit.UNWRITABLE, says="standard output cannot be written", full=True
    ),
    "a full disk for the list of routes": Mistake(
        words=command("routes"), code=Exit.UNWRITABLE, says="standard output cannot be written", full=True
    ),
    "a database that somebody changed": Mistake(
        words=LIST,
        variables={"DATABASE_URL": "sqlite:///{folder}/changed.db"},
        code=Exit.UNFORESEEN,
        says="SLUICE_COMMAND_TRACEBACK=1 shows where",
    ),
    "a dispatcher with a number that is none": Mistake(
        words=DISPATCHER,
        variables={"SLUICE_TASK_LINGER_MS": "fast"},
        code=Exit.MISCONFIGURED,
        says="SLUICE_TASK_LINGER_MS='fast'",
    ),
    "a dispatcher with a wrong password": Mistake(
        words=DISPATCHER, variables=WRONG_PASSWORD, code=Exit.MISCONFIGURED, says="password of DATABASE_URL"
    ),
    "a worker with a misspelt name": Mistake(
        words=WORKER,
        variables={"SLUICE_TASK_LINGR_MS": "1"},
        code=Exit.MISCONFIGURED,
        says="did you mean SLUICE_TASK_LINGER_MS?",
    ),
    "a worker with a wrong password": Mistake(
        words=WORKER,
        variables=WRONG_BROKER_PASSWORD,
        code=Exit.MISCONFIGURED,
        says="password of BROKER_URL",
    ),
    "a worker without a database": Mistake(
        words=WORKER, variables=NO_FILE, code=Exit.MISCONFIGURED, says="`alembic upgrade head`"
    ),
    "a Flower with another broker": Mistake(
        words=FLOWER,
        variables={"BROKER_URL": f"redis://:{SECRET}@h:6379/0"},
        code=Exit.MISCONFIGURED,
        says="BROKER_URL has the scheme 'redis'",
    ),
    "a receiver without workers": Mistake(
        words=RECEIVER,
        variables={"SLUICE_HTTP_WORKERS": "0"},
        code=Exit.MISCONFIGURED,
        says="SLUICE_HTTP_WORKERS='0'",
    ),
    "a receiver with a wrong password": Mistake(
        words=RECEIVER, variables=WRONG_PASSWORD, code=Exit.MISCONFIGURED, says="password of DATABASE_URL"
    ),
    "a receiver with another broker": Mistake(
        words=RECEIVER,
        variables={"BROKER_URL": f"redis://:{SECRET}@h:6379/0"},
        code=Exit.MISCONFIGURED,
        says="BROKER_URL has the scheme 'redis'",
    ),
    "a receiver without a folder": Mistake(
        words=RECEIVER,
        variables={"SLUICE_RUN_FOLDER": "{folder}/none"},
        code=Exit.MISCONFIGURED,
        says="SLUICE_RUN_FOLDER=",
    ),
    "a migration with a wrong password": Mistake(
        words=MIGRATE, variables=WRONG_PASSWORD, code=Exit.MISCONFIGURED, says="password of DATABASE_URL"
    ),
    "a migration of a database that is away": Mistake(
        words=MIGRATE,
        variables={"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/x"},
        code=Exit.UNAVAILABLE,
        says="the database is away",
    ),
    "a probe with a number that is none": Mistake(
        words=HEALTH,
        variables={"SLUICE_TASK_LINGER_MS": "fast"},
        code=Exit.MISCONFIGURED,
        says="SLUICE_TASK_LINGER_MS='fast'",
    ),
}
