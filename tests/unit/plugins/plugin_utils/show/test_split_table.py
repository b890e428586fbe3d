# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a fleet as a table, and as an inventory that Ansible reads the same hosts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.split import Part, Split, split
from ansible_collections.emqx.fleet.plugins.plugin_utils.show import split_table
from ansible_collections.emqx.fleet.tests.unit.plugins.plugin_utils.fleet_maker import make_clusters

#: What YAML, or Ansible, might take for something else.
NAMES = ["on", "10", "1e3", "~tilde", "a, b", "Edge 1", "null", "2001:db8::1", "host.example.com", "naïve", "#1", "- x"]


def test_table() -> None:
    assert split_table.lines(split(make_clusters(3, 2), 2)) == [
        "part  hosts  clusters  which",
        "----  -----  --------  ----------------------------",
        "1     4      2         emqx@c0n0 (2), emqx@c2n0 (2)",
        "2     2      1         emqx@c1n0 (2)",
        "",
        "6 hosts of 3 clusters, in 2 parts.",
    ]


def test_table_of_a_large_fleet_with_a_warning() -> None:
    found = split(make_clusters(12, 1), 2)._replace(warnings=["Mind this."])
    text = split_table.lines(found)
    assert text[2] == "1     6      6         emqx@c0n0 (1), emqx@c2n0 (1), emqx@c4n0 (1), emqx@c6n0 (1) and 2 more"
    assert text[-2:] == ["", "Mind this."]


def test_table_of_one() -> None:
    assert split_table.lines(split(make_clusters(1, 1), 1))[-1] == "1 host of 1 cluster, in 1 part."


@pytest.mark.filterwarnings("ignore")
def test_ansible_reads_the_same_hosts_from_the_inventory(tmp_path: Path) -> None:
    found = Split([Part({"a": NAMES[:6]}), Part({"b": NAMES[6:]})], [])
    path = tmp_path / "parts.yml"
    path.write_text(split_table.inventory(found, ["hosts.yml"]), encoding="utf-8")
    read = InventoryManager(DataLoader(), sources=[str(path)]).get_groups_dict()
    assert {name: sorted(read[name]) for name in ("emqx_part_1", "emqx_part_2")} == {
        "emqx_part_1": sorted(NAMES[:6]),
        "emqx_part_2": sorted(NAMES[6:]),
    }
    assert sorted(read["all"]) == sorted(NAMES)


def test_names_of_hosts_may_be_of_a_kind_of_ansible() -> None:
    class Tagged(str):
        __slots__ = ()

    found = Split([Part({"a": [Tagged("h1")]})], [])
    assert "h1: null" in split_table.inventory(found, [])


@pytest.mark.parametrize(
    ("sources", "said"),
    [(["/srv/hosts.yml", "a b"], "-i /srv/hosts.yml -i 'a b' -i THIS-FILE"), ([], "-i INVENTORY -i THIS-FILE")],
)
def test_the_inventory_tells_how_it_is_used(sources: list[str], said: str) -> None:
    text = split_table.inventory(split(make_clusters(2, 1), 2), sources)
    assert said in text.splitlines()[1]
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", ["edge[1]", "edge[1:3]", "[::1]:2222", "broker.example.org:2222"])
def test_names_that_ansible_would_take_apart(name: str) -> None:
    with pytest.raises(ValueError, match="Ansible would take these names apart") as refused:
        split_table.inventory(Split([Part({"a": ["h1", name]})], []), [])
    assert str(refused.value) == (
        f"Ansible would take these names apart in an inventory file: {name}; expected are names without brackets and "
        "without a port. Rename these hosts (with ansible_host and ansible_port), or use emqx_fleet_parts, which has "
        "them as they are."
    )
