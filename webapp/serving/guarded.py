"""What the loop calls for a connection fails alone."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Failing(Protocol):
    """What can be given up."""

    def fail(self, error: Exception) -> None: ...


F = TypeVar("F", bound=Failing)
P = ParamSpec("P")


def guarded(step: Callable[Concatenate[F, P], None]) -> Callable[Concatenate[F, P], None]:
    """A method whose exception ends its own object. Who calls it may be another one, a timer, a look-up or a
    confirm, and goes on.
    """

    @wraps(step)
    def run(self: F, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(self, *args, **kwargs)
        except Exception as error:
            self.fail(error)

    return run
