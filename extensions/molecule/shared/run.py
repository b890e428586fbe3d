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

#: What molecule does one after the other, by `test_sequence` in its configuration.
TEST = ("create", "converge", "verify", "destroy")


def main() -> int:
    """Do it; after a step that failed, `test` goes on with what takes the lab down."""
    name, wanted = sys.argv[1:]
    scenario = Scenario(name)
    spec = importlib.util.spec_from_file_location("scenario", HERE.parent / name / "scenario.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    failed = False
    for step in TEST if wanted == "test" else (wanted,):
        if not failed or step == "destroy":
            failed |= not _is_done(scenario, module, name, step)
    return int(failed)


def _is_done(scenario: Scenario, module: ModuleType, name: str, step: str) -> bool:
    """Do a step; an assertion that fails ends it with its message, which is kept for the end of the whole run."""
    started = time.monotonic()
    try:
        if step == "create":
            scenario.create(module.FLEET, **getattr(module, "CLIENTS", {}))
        elif step == "destroy":
            scenario.destroy()
        else:
            getattr(module, step)(scenario)
    except Exception:  # noqa: BLE001 -- whatever it is, the lab is taken down after it
        failure = f"{name}: {step} failed\n{traceback.format_exc()}"
        scenario.keep_failure(failure)
        print(failure, file=sys.stderr)
        return False
    print(f"{name}: {step} done in {time.monotonic() - started:.1f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
