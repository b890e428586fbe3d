# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Room that an unpack takes."""

from typing import Any, Dict

# Release table, settings and logs written meanwhile; also what file systems round up.
MARGIN_BYTES = 16 << 20


def space_needed(package: Dict[str, Any], root_dir: str, unpack_dir: str) -> Dict[str, int]:
    """Bytes by path. ``package``: its ``size`` and ``unpacked_size`` in bytes.

    The command copies the zip to the unpack directory and unpacks it there, packs the tree again as a tarball of about
    the zip's size in ``releases/``, and the node unpacks that into the root directory. Measured on EMQX 4.4.19: a zip
    of 28 MB took 65 MiB in ``/tmp``.
    """
    zip_and_tree = package["size"] + package["unpacked_size"]
    return {root_dir: zip_and_tree + MARGIN_BYTES, unpack_dir: zip_and_tree + MARGIN_BYTES}
