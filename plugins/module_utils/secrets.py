# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not be seen in messages, reports, journals and command lines: credentials in URLs. Pure functions."""

import re
from typing import Any

#: What stands in the place of a secret.
MASK = "********"

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:(?:\\?/){2}"
# A name, or a token in its place, up to the last @ before the path.
_USER = re.compile(r"(?<![A-Za-z0-9+.-])(" + _SCHEME + r")[^\s/?#\"'<>\\]*@")
# What follows the colon is no port, and there is an @ later: a password that may hold / ? # and @ without escaping.
_USER_AND_PASSWORD = re.compile(
    r"(?<![A-Za-z0-9+.-])(" + _SCHEME + r")[^\s/?#\"'<>\\\[\]:]*:(?!\d*(?:[/?#\s\"'<>\\]|$))[^\s\"'<>]*@"
)
# Signatures, tokens, keys and passwords of presigned and private links: Amazon, Azure, Google, GitLab, SharePoint, …
_SECRET_WORDS = r"token|sign|sig|pass|pwd|secret|key|cred|auth|policy|session|ticket|jwt"
_PARAMETER = re.compile(
    r"([?&;#][^\s=&;#\"'<>]*(?:" + _SECRET_WORDS + r")[^\s=&;#\"'<>]*=)[^\s&;#\"'<>\\]+", re.IGNORECASE
)
_NAME = re.compile(
    r"pass(?!ive)|pwd|secret|token|credential|private|api_?key|access_?key|cookie|webhook", re.IGNORECASE
)
# ``--password x``, ``token=x``, ``sshpass -p x`` within other text.
_ASSIGNED = re.compile(
    r"(?:" + _NAME.pattern + r")\w*[\"']?\s*[=:]\s*\S|--?(?:" + _NAME.pattern + r")\w*\s+\S|\bsshpass\b",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """``text`` without credentials in the URLs in it: neither user and password nor parameters that give access.

    ``https://me:s3cret@host/emqx.zip?X-Amz-Signature=1f&v=2`` becomes
    ``https://********@host/emqx.zip?X-Amz-Signature=********&v=2``. Rather too much is masked than too little.
    """
    text = _USER_AND_PASSWORD.sub(r"\g<1>" + MASK + "@", text)
    text = _USER.sub(r"\g<1>" + MASK + "@", text)
    return _PARAMETER.sub(r"\g<1>" + MASK, text)


def names_secret(name: str) -> bool:
    """Whether what goes by this name may be a secret: ``ansible_become_password``, ``api_token``."""
    return bool(_NAME.search(name))


def may_hold_secret(value: Any) -> bool:
    """Whether a setting's value, of any JSON type, may hold a secret: in a URL, or under a name that says so."""
    if isinstance(value, dict):
        given = {str(name): item for name, item in value.items() if item not in (None, "")}
        return any(names_secret(name) or may_hold_secret(item) for name, item in given.items())
    if isinstance(value, (list, tuple)):
        return any(may_hold_secret(item) for item in value)
    text = str(value)
    return masked(text) != text or bool(_ASSIGNED.search(text))
