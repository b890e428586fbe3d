# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Usage: waitport.py PORT SECONDS ADDRESS...   Waits until all accept connections; prints those that do not."""

import socket
import sys
import time


def answers(address: str, port: int) -> bool:
    """Whether a connection can be made (and, for SSH, whether something greets)."""
    try:
        with socket.create_connection((address, port), 1) as connection:
            return port != 22 or bool(connection.recv(20))
    except OSError:
        return False


def main() -> None:
    """Try each address in turn until all answered or the time is up."""
    port, seconds, left = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    end = time.monotonic() + seconds
    while left:
        left = [address for address in left if not answers(address, port)]
        if time.monotonic() > end:
            break
        if left:
            time.sleep(0.02)
    print("\n".join(left))


if __name__ == "__main__":
    main()
