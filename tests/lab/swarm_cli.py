# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""MQTT clients by the hundred, with a count of everything; see docs/lab.md."""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE.parent.parent / ".build" / "venv"

if not importlib.util.find_spec("paho"):
    if (VENV / "bin" / "python").exists() and Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), __file__, *sys.argv[1:]])
    print("swarm: this Python has no paho-mqtt; pip install 'paho-mqtt>=2' or run `make venv`", file=sys.stderr)
    sys.exit(2)

sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent.parent))
from tests.lab.labkit.swarm import main  # noqa: E402 -- the folder is not a place that Python looks in

sys.exit(main())
