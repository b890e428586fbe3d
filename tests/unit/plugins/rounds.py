# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""How many cases a test with chance in it tries, and which: few in `make unit`, many in `make other-rounds`.

``EMQX_FLEET_ROUNDS`` is how many times as many as in `make unit`; ``EMQX_FLEET_SEED`` is the first seed. Cases are the
same each time with the same seeds, and a test that fails names the seed of the case, so that
``EMQX_FLEET_SEED=<seed> pytest <test>`` meets it first.
"""

import os

import pytest

TIMES = int(os.environ.get("EMQX_FLEET_ROUNDS") or 1)
FIRST = int(os.environ.get("EMQX_FLEET_SEED") or 0)

#: For tests that have few cases in `make unit`, and run again in `make other-rounds`.
more = pytest.mark.rounds


def seeds(few: int) -> range:
    """So many seeds in `make unit`, and more elsewhere."""
    return range(FIRST, FIRST + few * TIMES)
