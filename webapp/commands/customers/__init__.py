"""`flask customers …`: who may send, and how."""

from webapp.commands.customers.adding import add
from webapp.commands.customers.keys import rotate_key
from webapp.commands.customers.limits import command as limit
from webapp.commands.customers.routes import route
from webapp.commands.customers.showing import list_all, show
from webapp.commands.customers.states import block, drop, pause, resume
from webapp.terminal.exits import CommandGroup

group = CommandGroup("customers", help="Add customers and say what may come from them.")
for command in (add, list_all, show, pause, drop, block, resume, rotate_key, route, limit):
    group.add_command(command)
