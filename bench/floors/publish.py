"""Publishing the same bytes to a stream from one process, with confirms: `python -m bench.floors.publish`.

Takes seconds, messages a publish and the message's size as arguments; prints JSON.
"""

import json
import os
import secrets
import sys
import time

from streams import Broker, StreamSettings

MIB = 1024 * 1024


def main(seconds: float, together: int, size: int) -> None:
    broker = Broker(StreamSettings())
    stream = f"floor.{secrets.token_hex(6)}"
    broker.declare(stream, max_bytes=1024 * MIB, max_age_s=3600, segment_bytes=128 * MIB)
    messages = [os.urandom(size) for _ in range(together)]
    try:
        broker.publish_all(stream, messages, deadline_s=30)
        before, began, count = time.process_time(), time.monotonic(), 0
        while time.monotonic() - began < seconds:
            broker.publish_all(stream, messages, deadline_s=30)
            count += together
        print(
            json.dumps(
                {
                    "messages": count + together,  # the broker has paid for the first ones too
                    "messages_per_s": count / (time.monotonic() - began),
                    "client_cpu_s_per_message": (time.process_time() - before) / count,
                }
            )
        )
    finally:
        broker.delete(stream)
        broker.close()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
