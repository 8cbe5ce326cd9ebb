"""`flask customers …`: who may send, and how."""

from webapp.commands.customers.adding import add
from webapp.commands.customers.deleting import delete
from webapp.commands.customers.history import history
from webapp.commands.customers.keys import keys, revoke_key, rotate_key
from webapp.commands.customers.limits import command as limit
from webapp.commands.customers.public_keys import add_public_key, public_keys, revoke_public_key
from webapp.commands.customers.retention import retention
from webapp.commands.customers.routes import route
from webapp.commands.customers.showing import list_all, show
from webapp.commands.customers.states import block, drop, pause, resume
from webapp.terminal.exits import CommandGroup

group = CommandGroup("customers", help="Add customers and say what may come from them.")
for command in (
    *(add, list_all, show, history),
    *(pause, drop, block, resume, delete),
    *(keys, rotate_key, revoke_key),
    *(public_keys, add_public_key, revoke_public_key),
    *(route, limit, retention),
):
    group.add_command(command)
