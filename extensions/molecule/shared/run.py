# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""What the shared playbooks call: ``run.py SCENARIO create|converge|verify|destroy``."""

from __future__ import annotations

import importlib.util
import sys
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import Scenario  # noqa: E402 -- the folder is not a place that Python looks in


def main() -> int:
    """Do it; an assertion that fails ends it with its message, which is kept for the end of the whole run."""
    name, step = sys.argv[1:]
    scenario = Scenario(name)
    spec = importlib.util.spec_from_file_location("scenario", HERE.parent / name / "scenario.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
    print(f"{name}: {step} done in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
