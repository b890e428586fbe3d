# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from one version to another through the packages at hand: one hop where the relup allows, else several."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ansible_collections.emqx.fleet.plugins.module_utils import version as emqx_version
from ansible_collections.emqx.fleet.plugins.plugin_utils.decide.catalogue import listed, version_key
from ansible_collections.emqx.fleet.plugins.plugin_utils.shapes import Package


@dataclass(frozen=True)
class Path:
    """A way, or why there is none.

    ``packages``: one a hop, in order; empty where there is no way. ``reason``: why, with the nearest version that
    would do. ``nearest``: that version.
    """

    packages: tuple[Package, ...] = ()
    reason: str = ""
    nearest: str | None = None

    @property
    def found(self) -> bool:
        """Whether there is a way."""
        return bool(self.packages)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that are switched to, in order."""
        return tuple(str(package["version"]) for package in self.packages)


def find_path(running: str, target: str, packages: Iterable[Package]) -> Path:
    """Return the shortest way from ``running`` to ``target``; of equally short ones that with the newest versions.

    ``packages`` are those that fit the node, one a version. An upgrade asks the relup of the version that is switched
    to, a downgrade the relup of the version that is left, as release_handler does. A hop through a version outside
    the two ends is never taken.
    """
    by_version = {str(package["version"]): package for package in packages if package.get("version")}
    if not emqx_version.is_valid(running) or not emqx_version.is_valid(target):
        return Path(reason=f"from {running} to {target} no way is looked for: one of them is not a version")
    if target not in by_version:
        return Path(reason=f"there is no package of {target}")
    upwards = emqx_version.parse(running) < emqx_version.parse(target)
    onward = _upgrades(by_version, target) if upwards else _downgrades(by_version)
    came_from = {running: running}
    queue = deque([running])
    while queue and target not in came_from:
        here = queue.popleft()
        for version in onward(here):
            if version not in came_from:
                came_from[version] = here
                queue.append(version)
    if target not in came_from:
        return _no_path(running, target, by_version, upwards)
    way = [target]
    while came_from[way[-1]] != running:
        way.append(came_from[way[-1]])
    return Path(tuple(by_version[version] for version in reversed(way)))


def find_way_back(running: str, path: Path) -> tuple[str, ...]:
    """Return the versions to switch to, in order, to be back on ``running`` after ``path``; empty without a way.

    An upgrade goes back by the downgrades that its packages' relups list, leaving hops out where it can. What a
    package does not tell (a release that only the node has), and the way up again after a downgrade, is left to the
    relups on the node.
    """
    if not path.found:
        return ()
    target = path.versions[-1]
    if version_key(target) < version_key(running) or any(package.get("relup") is None for package in path.packages):
        return (*reversed(path.versions[:-1]), running)
    return find_path(target, running, [{"version": running}, *path.packages]).versions


def _upgrades(packages: dict[str, Package], target: str) -> Callable[[str], list[str]]:
    """Return what can be switched to from a version, newest first. What must not be used is no stepping stone."""
    steps: dict[str, list[str]] = {}
    for version in sorted(packages, key=version_key, reverse=True):
        package = packages[version]
        if package.get("problems") and version != target:
            continue
        for origin in (package.get("relup") or {}).get("upgrade_from", ()):
            steps.setdefault(str(origin), []).append(version)
    return lambda version: [step for step in steps.get(version, ()) if version_key(step) > version_key(version)]


def _downgrades(packages: dict[str, Package]) -> Callable[[str], list[str]]:
    """Return what can be gone back to from a version, oldest last."""

    def steps(version: str) -> list[str]:
        relup = packages.get(version, {}).get("relup") or {}
        known = [back for back in relup.get("downgrade_to", ()) if back in packages]
        return sorted((back for back in known if version_key(back) < version_key(version)), key=version_key)

    return steps


def _no_path(running: str, target: str, packages: dict[str, Package], upwards: bool) -> Path:
    if not upwards:
        known = (packages.get(running, {}).get("relup") or {}).get("downgrade_to", [])
        have = (
            f"that of {running} goes back to {listed(known) or 'nothing'}"
            if running in packages
            else (f"the package of {running} is not at hand, and its relup decides")
        )
        return Path(reason=f"no relup leads back from {running} to {target}; {have}")
    origins = _origins(target, packages)
    above = [version for version in origins if version_key(version) > version_key(running)]
    nearest = min(above, key=version_key) if above else max(origins, key=version_key, default=None)
    if nearest is None:
        return Path(reason=f"the package of {target} has no relup that upgrades from any version")
    names = listed(sorted(origins, key=version_key, reverse=True))
    if above:
        way_out = f"nearest is {nearest}: with a package of {nearest} that upgrades from {running} there is a way"
    else:
        way_out = f"nearest is {nearest}, which is older than {running}"
    return Path(
        reason=f"no relup leads from {running} to {target}; there is a way to {target} from {names}; {way_out}",
        nearest=nearest,
    )


def _origins(target: str, packages: dict[str, Package]) -> list[str]:
    """Return the versions, the target apart, from which the packages lead to it."""
    seen = {target}
    queue = deque([target])
    while queue:
        package = packages.get(queue.popleft())
        if package is None or (package.get("problems") and package["version"] != target):
            continue
        for origin in (package.get("relup") or {}).get("upgrade_from", ()):
            if origin not in seen and emqx_version.is_valid(origin) and version_key(origin) < version_key(target):
                seen.add(origin)
                queue.append(origin)
    return [version for version in seen if version != target]
