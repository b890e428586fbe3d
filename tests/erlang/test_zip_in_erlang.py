# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Erlang's own zip reader, with which emqx unpacks packages, makes of each form of zip64."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.package_maker import contents
from ansible_collections.emqx.fleet.tests.unit.plugins.module_utils.zip_forms import FORMS

FILES = {
    f"emqx/{name}": content if isinstance(content, bytes) else content.encode() for name, content in contents().items()
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_zip64(tmp_path: Path, form: str) -> None:
    (tmp_path / "emqx.zip").write_bytes(FORMS[form].make(FILES))
    subprocess.run(
        ["erl", "-noshell", "-eval", 'io:format("~p", [catch zip:unzip("emqx.zip")]), halt().'],
        cwd=tmp_path,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    found = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.glob("emqx/**/*") if path.is_file()
    }
    assert (found == FILES) is FORMS[form].reads
