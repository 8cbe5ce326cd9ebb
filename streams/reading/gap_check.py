"""Whether missing offsets are really missing."""


class GapCheck:
    """A subscription to an offset more than one past the end begins at "next" instead, and what is published
    while the broker makes up its mind is skipped (osiris_log:init_offset_reader0; 12 of 300 tries on 3.10.8).
    So a chunk that begins above the offset that is due is not believed the first time, and the reader
    subscribes again: by then the offset exists. A gap that shows twice is real: retention has removed the
    messages, or the broker has put an entry of its own there.
    """

    def __init__(self) -> None:
        self._doubted = -1

    def doubts(self, due: int, first: int) -> bool:
        """True when a chunk that begins at `first` should be dropped and `due` be subscribed to again."""
        if first <= due or first == self._doubted:
            return False
        self._doubted = first
        return True
