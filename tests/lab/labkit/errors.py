# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The one kind of failure that the lab reports to its user."""

from __future__ import annotations


class LabError(Exception):
    """Something the user can act on; the message says what was found, what was expected and the way out.

    :param exit_code: what the command line exits with; 2 means that the request itself cannot be met here.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
