"""What receivers wrote of a day, as one of them and as the others did."""

from typing import Generic, NamedTuple, TypeVar

U = TypeVar("U")


class Written(NamedTuple, Generic[U]):
    """`U` is what is counted: bytes of a customer, or a `KeyUse`."""

    own: U
    others: U
