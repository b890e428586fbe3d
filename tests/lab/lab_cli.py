# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The test lab's command; see docs/lab.md."""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV_PYTHON = HERE.parent.parent / ".build" / "venv" / "bin" / "python"

if sys.version_info < (3, 11) and VENV_PYTHON.exists():
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), __file__, *sys.argv[1:]])
if not importlib.util.find_spec("yaml") and VENV_PYTHON.exists() and Path(sys.prefix) != VENV_PYTHON.parent.parent:
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), __file__, *sys.argv[1:]])

sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent.parent))
from tests.lab.labkit.cli import main  # noqa: E402 -- the folder is not a place that Python looks in

sys.exit(main())
