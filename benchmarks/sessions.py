"""A shop's traffic, and a load generator that sends it: sessions of ten events, batches of 100 events of 100 sessions.

    python -m benchmarks.sessions ADDRESS WRITE_KEY SECONDS FIRST [RATE]   as many as the door takes, or RATE events a second

A session begins with a device that nobody has seen. In one of four somebody signs in half way, one of USERS who come back again
and again: then the device's customer and the person's become one. Of 100 events 2.5 join two customers, and 10 found one.
Prints JSON: {"events", "batches", "seconds", "refused"}. FIRST is the number of the first batch; no two have the same message ids.
"""

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator

from benchmarks.http_load import Connection

SESSIONS = BATCH_EVENTS = 100
SESSION_EVENTS = 10
SIGNS_IN = SESSION_EVENTS // 2
ONE_SIGNS_IN_OF = 4
USERS = 100_000
CONNECTIONS = 12
PAUSE_S = 0.05  # after a refusal, which a door that has enough answers

CONTEXT = '"context":{"ip":"203.0.113.7","locale":"de-DE","library":{"name":"analytics-node","version":"3.1.0"}},"integrations":{}'


def batch(number: int) -> bytes:
    """About 45 kB."""
    first, step = number // SESSION_EVENTS * SESSIONS, number % SESSION_EVENTS
    return ('{"batch":[' + ",".join(event(first + place, step) for place in range(SESSIONS)) + "]}").encode()


def event(session: int, step: int) -> str:
    """JSON. Ids are drawn from the number of the session, so that whoever sends it again sends the same."""
    user = session * 7919 % USERS
    known = session % ONE_SIGNS_IN_OF == 0 and step >= SIGNS_IN
    who = f'"anonymousId":"device-{session:09d}"' + (f',"userId":"user-{user}"' if known else "")
    head = f'{{"messageId":"session-{session:09d}-{step}",{who},{CONTEXT},'
    if known and step == SIGNS_IN:
        traits = f'"first_name":"Ann","email":"user-{user}@example.com","vip":true,"visits":{session}'
        return f'{head}"type":"identify","traits":{{{traits}}}}}'
    if step == SESSION_EVENTS - 1:
        order = f'"order_id":"o-{session}","total":59.4,"currency":"EUR","lines":[{{"sku":"sku-1","quantity":1,"price":59.4}}]'
        return f'{head}"type":"track","event":"Order Completed","properties":{{{order}}}}}'
    return f'{head}"type":"page","name":"Product","properties":{{"path":"/product/{session % 977}","title":"A product"}}}}'


class Load:
    def __init__(self, address: str, write_key: str, first: int, rate: float) -> None:
        self._address, self._key, self._rate = address, write_key, rate
        self._numbers: Iterator[int] = itertools.count()
        self._first = first
        self.batches = self.refused = 0
        self._count = threading.Lock()

    def run(self, began: float, until: float) -> None:
        connection = Connection(self._address, self._key)
        while time.perf_counter() < until:
            number = next(self._numbers)
            if self._rate:
                due = began + number * BATCH_EVENTS / self._rate
                if due > until:
                    return
                time.sleep(max(0.0, due - time.perf_counter()))
            self._send(connection, batch(self._first + number))

    def _send(self, connection: Connection, body: bytes) -> None:
        """Until it is taken: what a door refuses, a sender sends again."""
        while connection.post(b"/v1/batch", body) != 200:
            with self._count:
                self.refused += 1
            time.sleep(PAUSE_S)
        with self._count:
            self.batches += 1


def main(address: str, write_key: str, seconds: float, first: int, rate: float = 0) -> None:
    load, began = Load(address, write_key, first, rate), time.perf_counter()
    work = [threading.Thread(target=load.run, args=[began, began + seconds]) for _ in range(CONNECTIONS)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    took, events = time.perf_counter() - began, load.batches * BATCH_EVENTS
    print(json.dumps({"events": events, "batches": load.batches, "seconds": took, "refused": load.refused}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), *map(float, sys.argv[5:]))
