# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failures of an operation on a node, with what the one who reads them needs to go on."""

from typing import Any, Dict, List, Optional

from ansible_collections.emqx.fleet.plugins.module_utils.secrets import masked

NOT_STARTED = "not_started"
REFUSED = "refused"
CHANGED = "changed"
UNKNOWN = "unknown"


class FleetError(Exception):
    """An operation that did not reach what was asked for.

    ``failure_class`` is one of

    - ``not_started``: no command that changes the node was run;
    - ``refused``: a command or a guard said no, the releases are as they were before;
    - ``changed``: the releases are not as they were before, and not as they were asked for;
    - ``unknown``: the state could not be read, or a command may still be at work.

    ``hint`` is the way out, ``output`` the last lines of the command's output with secrets masked. Credentials of URLs
    are masked in all three.
    """

    def __init__(
        self,
        message: str,
        failure_class: str = NOT_STARTED,
        hint: str = "",
        output: Optional[List[str]] = None,
        details: Optional[Dict[str, Any]] = None,
    ) -> None:
        self.message = masked(message)
        super().__init__(self.message)
        self.failure_class = failure_class
        self.hint = masked(hint)
        self.output = [masked(line) for line in output or ()]
        self.details = details or {}

    def result(self) -> Dict[str, Any]:
        """What ``fail_json`` takes, apart from what the caller adds about the node."""
        answer = dict(self.details)
        answer.update(
            msg=self.message if not self.hint else "{0} {1}".format(self.message, self.hint),
            failure_class=self.failure_class,
            hint=self.hint,
            output=self.output,
        )
        return answer
