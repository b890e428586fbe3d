# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Make the checkout importable as ``ansible_collections.emqx.fleet``, wherever it lies; end in good order.

Python 3.6 must be able to read this file: the broker-side tests run there too, without ansible.
"""

import contextlib
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "ansible_collections.emqx.fleet"


def _alias_checkout() -> None:
    """Put packages into ``sys.modules`` under the collection's name, the last of which is the checkout.

    Ansible's own collection loader, once a test starts it, finds the modules there and leaves them alone. ansible-test
    has put its own there before this file is read.
    """
    if COLLECTION in sys.modules:
        return
    parts = COLLECTION.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT)] if name == COLLECTION else []
        sys.modules[name] = package
        if depth > 1:
            setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], package)


_alias_checkout()


def _fix_cases() -> None:
    """Have hypothesis try the same cases each time, however slow the machine; others with EMQX_FLEET_SEED."""
    try:
        import hypothesis  # the broker-side environments have none
    except ImportError:
        return
    fixed = not os.environ.get("EMQX_FLEET_SEED")
    hypothesis.settings.register_profile("fleet", derandomize=fixed, deadline=None, print_blob=True)
    hypothesis.settings.load_profile("fleet")


_fix_cases()


def _end(_number: int, _frame: Any) -> None:
    """End as after Ctrl-C, which reaches also what we have started: a job that is cancelled leaves nothing behind."""
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGINT)
    raise KeyboardInterrupt("SIGTERM")


signal.signal(signal.SIGTERM, _end)
# Test processes that another one started do not hear of Ctrl-C otherwise.
signal.signal(signal.SIGINT, signal.default_int_handler)
