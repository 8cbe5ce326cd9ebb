"""Compiles functions over arrays to machine code, with numba, when they are first wanted.

Such a function calls others of its kind, and uses arrays, whole numbers and tuples of them only, so that it
also runs as the plain Python that it is.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from types import FunctionType
from typing import Any, cast

Kernel = Callable[..., Any]


def compiled(function: Kernel, *example: Any) -> Kernel:
    """`function` as machine code for arguments of the types of `example`; a second or more of work.

    What was made is kept in numba's cache: `NUMBA_CACHE_DIR`, or `__pycache__` beside this file, or the
    user's cache folder. A process that can write to none of them, or can't read what is there, compiles anew.
    """
    import numba

    called = list(_called(cast(FunctionType, function), set()))
    for helper in called:
        numba.extending.register_jitable(helper)
    types = tuple(map(numba.typeof, example))
    kernel = _named(called[0], _digest(called))
    dispatcher: Any
    try:
        dispatcher = numba.njit(kernel, cache=True)
        dispatcher.compile(types)
    except Exception:  # whatever a folder can do; what is wrong with the code is raised below
        dispatcher = numba.njit(kernel)
        dispatcher.compile(types)
    dispatcher.disable_compile()
    made: Kernel = dispatcher
    return made


def _named(function: FunctionType, digest: str) -> FunctionType:
    """The function under a name of its own for all that it calls: numba's cache knows it by its name and its
    file's time, and would not see that one which it calls has changed.
    """
    named = FunctionType(function.__code__, function.__globals__, function.__name__)
    named.__module__ = function.__module__
    named.__qualname__ = f"{function.__name__}_{digest}"
    return named


def _called(function: FunctionType, known: set[FunctionType]) -> Iterator[FunctionType]:
    """The function and those that it calls, directly or not."""
    known.add(function)
    yield function
    for name in function.__code__.co_names:
        other = function.__globals__.get(name)
        if isinstance(other, FunctionType) and other not in known:
            yield from _called(other, known)


def _digest(functions: list[FunctionType]) -> str:
    """Of the code of functions and the numbers that it uses."""
    digest = sha256()
    for function in functions:
        code = function.__code__
        numbers = [(name, function.__globals__.get(name)) for name in code.co_names]
        said = [(name, value) for name, value in numbers if isinstance(value, int)]
        digest.update(repr((code.co_name, code.co_code, code.co_consts, code.co_names, said)).encode())
    return digest.hexdigest()[:16]
