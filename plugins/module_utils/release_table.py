# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``releases/RELEASES``, the release table on disk, and how a row that it lost comes back.

From EMQX 4.3.1 on every command looks there for the version that a restart boots, and dies without its row; the node
itself cannot be started then. The table that a running node has in memory is whole.
"""

import os
import re
from typing import Any, Optional

from ansible_collections.emqx.fleet.plugins.module_utils import distribution, peer
from ansible_collections.emqx.fleet.plugins.module_utils.erlang_terms import Atom, ErlangTermError, parse_terms
from ansible_collections.emqx.fleet.plugins.module_utils.errors import REFUSED, FleetError
from ansible_collections.emqx.fleet.plugins.module_utils.installation import Installation, read_text, settings_of

TIMEOUT_SECONDS = 30.0

# The release handler's own rows; what is current is written as unpacked, as the release handler itself does it.
_TABLE = (
    "unicode:characters_to_binary(io_lib:format([126,112,46,126,110],"
    " [[case element(6, R) of current -> setelement(6, R, unpacked); _ -> R end || R <- hd([L ||"
    " L <- tuple_to_list(sys:get_state(release_handler)), is_list(L), L =/= [],"
    " lists:all(fun(R) -> is_tuple(R) andalso tuple_size(R) =:= 6 andalso element(1, R) =:= release end, L)])]]))."
)
_READS_THE_TABLE = re.compile(r"\"RELEASES\"")


def lacks_row(installation: Installation, version: str) -> bool:
    """Whether the table on disk has no row of ``version``, or is no table."""
    return all(row["version"] != version for row in installation.table_on_disk())


def commands_need_row(installation: Installation) -> bool:
    """Whether the commands die without the row of what a restart boots: those of EMQX 4.3.1 and later do."""
    return _READS_THE_TABLE.search(read_text(installation.bin_file("nodetool")) or "") is not None


def can_be_had(installation: Installation, pid: Optional[int], version: str) -> bool:
    """Whether the row of ``version`` can be had back: from a broker that runs, or from its release file."""
    return pid is not None or _row_of_release_file(installation, version) is not None


def whole_table(installation: Installation, pid: Optional[int], version: str) -> bytes:
    """What shall stand in ``RELEASES``, with the row of ``version``.

    From the running broker ``pid``, asked over its distribution port, for no command may work any more; without one,
    from the release file of ``version`` and the rows that are left. Raises FleetError.
    """
    if pid is not None:
        return _table_of_running_node(installation, pid, version)
    row = _row_of_release_file(installation, version)
    if row is None:
        raise FleetError(
            "The row of {0} in {1} is lost, the broker is stopped, and {2} with its whole release is not there.".format(
                version, installation.table_path, installation.release_file(version, "emqx.rel")
            ),
            failure_class=REFUSED,
            hint=WAY_OUT,
        )
    rows = [other for other in installation.table_rows() if other[2] != version]
    # Only one can be permanent: what a restart boots.
    rest = [other[:5] + (Atom("old"),) if other[5] == "permanent" else other for other in rows]
    return (_term([row] + rest) + ".\n").encode("utf-8")


WAY_OUT = (
    "Put back releases/RELEASES from a backup. Without one, copy releases/<version>/emqx.rel of the version that shall "
    "boot from its package and run the same task again."
)


def _table_of_running_node(installation: Installation, pid: int, version: str) -> bytes:
    hint = "Do not restart the node before its table is repaired: it could not start. Run the same task again as root."
    try:
        found = peer.find(installation, pid, settings_of(pid))
        text = distribution.evaluate(found, _TABLE, TIMEOUT_SECONDS)
    except distribution.DistributionError as error:
        raise FleetError(
            "The running node's release table cannot be read: {0}.".format(error), failure_class=REFUSED, hint=hint
        ) from error
    try:
        versions = [row[2] for row in parse_terms(text)[0]]
    except (ErlangTermError, IndexError, TypeError):
        versions = []
    if version not in versions:
        raise FleetError(
            "The running node's own release table has no row of {0} either; it has {1}.".format(
                version, ", ".join(versions) or "none"
            ),
            failure_class=REFUSED,
            hint=hint,
        )
    return bytes(text)


def _row_of_release_file(installation: Installation, version: str) -> Optional[Any]:
    """The row as the release handler makes it from ``emqx.rel``; None where the release is not whole.

    An unpack removes ``releases/<version>/emqx.rel``; ``releases/emqx.rel`` is that of the first version installed.
    """
    for path in (
        installation.release_file(version, "emqx.rel"),
        os.path.join(installation.releases_dir, "emqx.rel"),
    ):
        try:
            _release, (name, found), (_erts, erts), applications = parse_terms(read_text(path) or "")[0][:4]
            libraries = [(app[0], app[1], "lib/{0}-{1}".format(app[0], app[1])) for app in applications]
        except (ErlangTermError, IndexError, TypeError, ValueError):
            continue
        whole = all(os.path.isdir(os.path.join(installation.root_dir, library[2])) for library in libraries)
        if found == version and libraries and whole:
            return (Atom("release"), name, found, erts, libraries, Atom("permanent"))
    return None


def _term(value: Any) -> str:
    """Rows of the table as Erlang text: atoms, strings, tuples and lists of them."""
    if isinstance(value, Atom):
        return str(value) if re.match(r"[a-z][A-Za-z0-9_@]*\Z", value) else "'{0}'".format(value)
    if isinstance(value, str):
        return '"{0}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))
    if isinstance(value, tuple):
        return "{{{0}}}".format(",".join(_term(part) for part in value))
    return "[{0}]".format(",\n ".join(_term(part) for part in value))
