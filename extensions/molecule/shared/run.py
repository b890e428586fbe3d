# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What the shared playbooks call: ``run.py SCENARIO create|converge|verify|destroy``; ``test`` is all of it."""

from __future__ import annotations

import importlib.util
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import Scenario  # noqa: E402 -- the folder is not a place that Python looks in

#: What molecule does one after the other, by `test_sequence` in its configuration, before it destroys.
TEST = ("create", "converge", "verify")


def main() -> int:
    """Do it; `test` takes the lab down whatever became of the steps, and what failed ends it all the same."""
    name, wanted = sys.argv[1:]
    scenario = Scenario(name)
    spec = importlib.util.spec_from_file_location("scenario", HERE.parent / name / "scenario.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        for step in TEST if wanted == "test" else (wanted,):
            _do(scenario, module, name, step)
    finally:
        if wanted == "test":
            _do(scenario, module, name, "destroy")
    return 0


def _do(scenario: Scenario, module: ModuleType, name: str, step: str) -> None:
    """Do a step; an assertion that fails ends it with its message, which is kept for the end of the whole run."""
    started = time.monotonic()
    try:
        if step == "create":
            scenario.create(module.FLEET, **getattr(module, "CLIENTS", {}))
        elif step == "destroy":
            scenario.destroy()
        else:
            getattr(module, step)(scenario)
    except Exception:
        scenario.keep_failure(f"{name}: {step} failed\n{traceback.format_exc()}")
        raise
    print(f"{name}: {step} done in {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
