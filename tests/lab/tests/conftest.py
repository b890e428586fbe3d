# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The lab's own tests bring up labs as any other test does."""

from tests.lab.fixtures import lab_factory

__all__ = ["lab_factory"]
