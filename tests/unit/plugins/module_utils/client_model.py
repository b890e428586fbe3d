# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker that counts its clients as EMQX 4.2 to 4.4 do, for tests of what can be told from that."""

from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.emqx.fleet.plugins.module_utils.clients import METRICS, Sample, books


class Broker:
    """Clients by number; each has a session, and those in ``connected`` a connection."""

    def __init__(self, clients: int = 0) -> None:
        self.counted = {name: 0 for name, _metric in METRICS}
        self.sessions = []  # type: List[int]
        self.connected = []  # type: List[int]
        self._next = 0
        for _number in range(clients):
            self.connect()

    def connect(self) -> int:
        """A client with a new session."""
        self._next += 1
        self.sessions.append(self._next)
        self.connected.append(self._next)
        self.counted["came"] += 1
        self.counted["created"] += 1
        return self._next

    def disconnect(self, client: int, keeps_session: bool = False) -> None:
        """In an orderly way, or the broker sees the connection end."""
        self.connected.remove(client)
        self.counted["left"] += 1
        if not keeps_session:
            self.sessions.remove(client)
            self.counted["terminated"] += 1

    def expire(self, client: int) -> None:
        """A session without a connection ends."""
        self.sessions.remove(client)
        self.counted["terminated"] += 1

    def replace(self, client: int, take_over: bool) -> int:
        """A new connection with the client's identifier, whether or not the old one is still there: no disconnect."""
        self.sessions.remove(client)
        if client in self.connected:
            self.connected.remove(client)
        self.counted["takenover" if take_over else "discarded"] += 1
        found = self.connect()
        if take_over:
            self.counted["created"] -= 1
            self.counted["resumed"] += 1
        return found

    def kill(self, client: int) -> None:
        """Its process is killed: nothing is counted."""
        self.sessions.remove(client)
        if client in self.connected:
            self.connected.remove(client)

    def crash(self, client: int) -> None:
        """Its process crashes: the end of the session is counted."""
        self.kill(client)
        self.counted["terminated"] += 1

    def sample(self) -> Sample:
        """One sample, in which nothing else goes on."""
        counters = [self.counted[name] for name, _metric in METRICS]
        return Sample(counters, len(self.sessions), len(self.connected), counters)

    def books(
        self, time: float = 0.0, others: Sequence[str] = (), samples: Optional[List[Sample]] = None
    ) -> Dict[str, Any]:
        """What the node tells of itself."""
        return books(time, samples or [self.sample()] * 3, others)
