# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The test lab: hosts, brokers, faults and clients on one machine.

``Lab.up(...)`` is the way in from Python, ``tests/lab/lab`` the one from the command line; docs/lab.md tells both.
"""

from __future__ import annotations

from .errors import LabError
from .faults import Fault, Faults
from .fleet import Fleet, HostSpec, load_fleet, parse_fleet, simple_fleet
from .host import Host
from .lab import Lab

__all__ = [
    "Fault",
    "Faults",
    "Fleet",
    "Host",
    "HostSpec",
    "Lab",
    "LabError",
    "load_fleet",
    "parse_fleet",
    "simple_fleet",
]
