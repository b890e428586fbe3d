# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Makes packages: sound ones, and ones with exactly one thing wrong."""

import zipfile
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Union

VERSION = "4.4.19"
NAME = "emqx-4.4.19-otp25.2.3-1-debian12-amd64.zip"
VARS = 'REL_VSN="{0}"\nERTS_VSN="13.1.5"\nERL_OPTS=""\nEMQX_DESCRIPTION=\'EMQX Broker\'\n'
RELUP = '%% coding: utf-8\n{{"{0}",[{{"4.4.18",[],[{{load,[a]}}]}},{{"4.4.17",[],[]}}],[{{"4.4.18",[],[point]}}]}}.\n'
REL = '{{release,{{"emqx","{0}"}},{{erts,"13.1.5"}},[{{kernel,"8.5.3"}}]}}.\n'
COPIED = ("emqx", "emqx_ctl", "cuttlefish", "nodetool", "install_upgrade.escript")

Content = Union[str, bytes]


def contents(version: str = VERSION) -> Dict[str, Content]:
    """Files of a sound package, by path below emqx/."""
    release = "releases/{0}/".format(version)
    files: Dict[str, Content] = {
        "releases/emqx_vars": VARS.format(version),
        release + "emqx.rel": REL.format(version),
        release + "start.boot": "boot",
        release + "no_dot_erlang.boot": "boot",
        release + "BUILT_ON": "25.2.3-x86_64-pc-linux-gnu-64-debian12\n",
        release + "relup": RELUP.format(version),
        "lib/emqx-{0}/ebin/emqx.beam".format(version): b"FOR1" + bytes(bytearray(range(256))) * 8,
    }
    files.update(("bin/{0}-{1}".format(name, version), "#!/bin/sh\n") for name in COPIED)
    return files


def make(
    directory: Path,
    name: str = NAME,
    version: str = VERSION,
    change: Optional[Dict[str, Optional[Content]]] = None,
    more: Iterable[Any] = (),
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Write a package. ``change``: other contents by path below emqx/, None for none; ``more``: (member, content)."""
    files: Dict[str, Optional[Content]] = dict(contents(version))
    files.update(change or {})
    path = directory / name
    with zipfile.ZipFile(str(path), "w", compression) as archive:
        for member, content in files.items():
            if content is not None:
                archive.writestr("emqx/" + member, content)
        for member, content in more:
            archive.writestr(member, content)
    return path
