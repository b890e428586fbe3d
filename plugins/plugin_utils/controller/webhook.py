# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Events of a run, as CloudEvents 1.0 in the structured mode of its HTTP binding, posted to a webhook.

Whatever the other end does, a run waits for it a few seconds at most and goes on. An event may arrive twice, with the
same ``id``: where the answer to it was lost it is sent again.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import urllib.error
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from ansible.module_utils.urls import open_url
from ansible_collections.emqx.fleet.plugins.module_utils.secrets import MASK, masked
from ansible_collections.emqx.fleet.plugins.plugin_utils.controller import job
from ansible_collections.emqx.fleet.plugins.plugin_utils.show.document import rfc3339

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
TYPE_PREFIX = "io.github.emqx-fleet.run."
#: Seconds before the second and the third try.
PAUSES = (1.0, 2.0)
#: What is worth another try of what was answered: a timeout, too many requests. So is what a server failed in (5xx).
_AGAIN = (408, 429)
_REASON_SHOWN = 200


class Patience(NamedTuple):
    """Seconds for one try, and for all of them with the pauses between them."""

    one: float
    all: float


#: While a run works, and where nothing waits for it any more.
WORKING, ENDED = Patience(4.0, 5.0), Patience(5.0, 18.0)


class _RefusalError(Exception):
    """What the other end did with an event; ``again``: whether another try may be better."""

    def __init__(self, reason: str, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Webhook:
    """One URL that is told of a run. ``token``: for ``Authorization: Bearer``, none if empty."""

    def __init__(
        self,
        url: str,
        token: str = "",
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._token = token
        self._sleep = sleep
        self._clock = clock

    def send(self, event: Mapping[str, Any], patience: Patience) -> str:
        """Post an event; gives why it did not arrive, in one sentence without secrets, or nothing."""
        body = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace")
        end = self._clock() + patience.all
        tries = 0
        reason = ""
        for pause in (*PAUSES, None):
            tries += 1
            try:
                self._post(body, min(patience.one, end - self._clock()))
                return ""
            except _RefusalError as refusal:
                reason = str(refusal)
                if not refusal.again or pause is None or self._clock() + pause >= end:
                    break
            self._sleep(pause)
        often = f" after {tries} tries" if tries > 1 else ""
        return f"The webhook at {self._shown} was not told of {event['type']}{often}: {reason}."

    @property
    def _shown(self) -> str:
        """The URL without its path, which is the secret of many webhooks, and without credentials."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"

    def _post(self, body: bytes, seconds: float) -> None:
        """One try. Raises _RefusalError, at the latest after ``seconds``, whatever hangs."""
        found: queue.SimpleQueue[_RefusalError | None] = queue.SimpleQueue()

        def work() -> None:
            found.put(self._tried(body, seconds))

        # A timeout of a socket neither bounds the look-up of a name nor an answer that drips.
        threading.Thread(target=work, daemon=True).start()
        try:
            refusal = found.get(timeout=max(0.0, seconds))
        except queue.Empty:
            refusal = _RefusalError(f"it did not answer within {seconds:.1f} s", again=True)
        if refusal is not None:
            raise refusal

    def _tried(self, body: bytes, seconds: float) -> _RefusalError | None:
        headers = {"Content-Type": CONTENT_TYPE}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            with open_url(
                self._url,
                data=body,
                headers=headers,
                method="POST",
                timeout=seconds,
                http_agent=f"emqx.fleet/{job.collection_version()}",
                # A redirect would carry the token to wherever it leads, or lose the event on the way.
                follow_redirects="none",
                # Both would put something else in the place of the token.
                force_basic_auth=not self._token,
                use_netrc=not self._token,
            ):
                return None
        except urllib.error.HTTPError as error:
            if 300 <= error.code < 400:
                return _RefusalError(f"it redirects (HTTP {error.code}), which is not followed; set its new URL", False)
            return _RefusalError(f"it answered HTTP {error.code}", error.code in _AGAIN or error.code >= 500)
        except Exception as error:  # noqa: BLE001
            # Whatever it is, a webhook is no reason for a run to fail.
            return _RefusalError(self._without_secrets(getattr(error, "reason", None) or error), again=True)

    def _without_secrets(self, error: object) -> str:
        text = " ".join(masked(str(error) or type(error).__name__).split()).rstrip(".")
        parts = urlsplit(self._url)
        for secret in (self._token, self._url, parts.path.strip("/"), parts.query, parts.password):
            text = text.replace(secret, MASK) if secret and len(secret) > 3 else text
        return text[:_REASON_SHOWN]


def event(kind: str, host: str, run_id: str | None, now: float, data: Mapping[str, Any]) -> dict[str, Any]:
    """A CloudEvent. ``kind``: ``started``, ``wave``, ``failed``, ``refused`` or ``finished``; ``host``: the controller.

    ``now``: seconds since 1970. A run that was refused before it had an identifier has no ``subject``.
    """
    subject = {"subject": run_id} if run_id else {}
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"/emqx.fleet/{quote(host, safe='')}",
        "type": TYPE_PREFIX + kind,
        **subject,
        "time": rfc3339(now),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
