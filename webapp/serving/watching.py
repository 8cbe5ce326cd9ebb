"""gunicorn's master tells the service manager how its workers do; on its own behalf it has nothing to say."""

import mmap
import threading
import time
from typing import TYPE_CHECKING

from supervision import Supervised

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped] # ships no types

    from webapp.serving.parts import Parts

ASK_S = 1.0


class WorkerWatch:
    """Ready when a worker could accept a batch for the first time; at work as long as the main loop of one
    worker turns. Made before the fork, and shared by master and workers.
    """

    def __init__(self, supervised: Supervised) -> None:
        self.supervised = supervised
        self._page = mmap.mmap(-1, 1)
        self._beats: dict[int, float] = {}

    def attach(self, server: "Arbiter") -> None:
        """Look at the workers in each round of the master's loop, where it ends those that stand still."""
        murder = server.murder_workers

        def murder_and_look() -> None:
            murder()
            self._look(server)

        server.murder_workers = murder_and_look

    def follow(self, parts: "Parts") -> None:
        """In a worker: find out when it can accept batches. The main loop does not wait for that."""

        def wait() -> None:
            while not parts.accepting(ASK_S):
                if parts.shutdown.begun:
                    return
                time.sleep(ASK_S)
            self._page[0] = 1

        threading.Thread(target=wait, name="first-ready", daemon=True).start()

    def _look(self, server: "Arbiter") -> None:
        # The time of a worker's last turn; another than at the last look: its loop turned in between.
        beats = {pid: worker.tmp.last_update() for pid, worker in server.WORKERS.items()}
        turned = any(pid in self._beats and self._beats[pid] != beat for pid, beat in beats.items())
        self._beats = beats
        if not turned:
            return
        if self._page[0] == 1:
            self.supervised.ready(f"accepts batches; workers: {len(beats)}")
        else:
            self.supervised.status("waits for the broker, or for the database with the keys")
        self.supervised.progressed()
