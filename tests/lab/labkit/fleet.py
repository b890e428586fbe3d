# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""The fleet: which hosts there are, and what runs on each. Pure data; nothing is started here.

A fleet is written as YAML or JSON::

    defaults: {version: 4.4.18}
    clusters:
      blue: {hosts: 3}                       # blue1, blue2, blue3
      green:
        edition: ee
        hosts:
          g1: {}
          g2: {version: 4.4.17, layout: package, runner_user: emqx}
          g3: {broker: stopped}
    hosts:
      spare: {broker: none}                  # in no cluster

A setting is looked for at the host, then at its cluster, then under ``defaults``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import LabError

NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")
SIZE = re.compile(r"\d+[kmg]?")
CHOICES = {
    "edition": ("ce", "ee", "edge"),
    "layout": ("unpacked", "package"),
    "broker": ("running", "stopped", "none"),
    "init": ("plain", "systemd"),
}
DEFAULT_SIZES = {"root": "256m", "opt": "256m", "var": "256m", "tmp": "256m"}


@dataclass(frozen=True)
class HostSpec:
    """What one host shall be.

    ``broker`` is ``running``, ``stopped`` (installed, not started) or ``none``. ``package`` names a zip file outright
    (looked for among the built ones) where version, edition and platform do not tell it. ``sizes`` are the sizes of
    the file systems ``root``, ``opt``, ``var`` and ``tmp``, as ``mount`` writes them (``64m``). ``python`` is the
    version of the interpreter that the inventory names (``3.6``). ``seed`` is false for a node that shall not join
    its cluster.
    """

    name: str
    cluster: str | None = None
    broker: str = "none"
    version: str = "4.4.18"
    edition: str = "ce"
    otp: str = ""
    platform: str = ""
    arch: str = ""
    package: str = ""
    layout: str = "unpacked"
    runner_user: str = ""
    port: int = 1883
    cookie: str = "lab-cookie"
    init: str = "plain"
    python: str = ""
    seed: bool = True
    sizes: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fleet:
    """The hosts of a lab, in order."""

    hosts: tuple[HostSpec, ...]

    @property
    def clusters(self) -> dict[str, list[HostSpec]]:
        """The hosts of each cluster, by its name."""
        found: dict[str, list[HostSpec]] = {}
        for host in self.hosts:
            if host.cluster:
                found.setdefault(host.cluster, []).append(host)
        return found

    def as_dict(self) -> dict[str, Any]:
        """The fleet as JSON types."""
        return {"hosts": [dataclasses.asdict(host) for host in self.hosts]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fleet:
        """The reverse of :meth:`as_dict`."""
        return cls(tuple(HostSpec(**host) for host in data["hosts"]))


def simple_fleet(count: int, *, cluster: str = "emqx", prefix: str = "h", **settings: Any) -> Fleet:
    """So many equal hosts, ``h1`` and on; without a ``version`` or a ``broker`` setting they have no broker."""
    if count < 1:
        raise LabError(f"{count} hosts were asked for; a lab has at least one", 2)
    if "version" in settings:
        settings.setdefault("broker", "running")
    layer = {"broker": "none", **settings}
    member = cluster if layer["broker"] != "none" else None
    return Fleet(tuple(_host(f"{prefix}{number}", member, layer) for number in range(1, count + 1)))


def load_fleet(path: str | Path) -> Fleet:
    """Read a fleet file: JSON if its name ends so, else YAML."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"the fleet file {path} cannot be read: {error.strerror}", 2) from error
    try:
        if path.suffix == ".json":
            data = json.loads(text)
        else:
            import yaml  # only here, so that a lab without a YAML file needs nothing but Python

            data = yaml.safe_load(text)
    except ImportError as error:
        raise LabError(
            f"{path} is YAML and this Python has no PyYAML; install it or write the fleet as JSON", 2
        ) from error
    except ValueError as error:
        raise LabError(f"{path} is not valid JSON: {error}", 2) from error
    except yaml.YAMLError as error:
        raise LabError(f"{path} is not valid YAML: {error}", 2) from error
    return parse_fleet(data, str(path))


def parse_fleet(data: object, origin: str = "fleet") -> Fleet:
    """Check what a fleet file says and fill in its layers.

    :raises LabError: for the first thing that is wrong, with where it stands.
    """
    top = _mapping(data, origin)
    _only(top, ("defaults", "clusters", "hosts"), origin)
    defaults = {"broker": "running", **_mapping(top.get("defaults") or {}, f"{origin}: defaults")}
    hosts: list[HostSpec] = []
    for cluster, content in _mapping(top.get("clusters") or {}, f"{origin}: clusters").items():
        where = f"{origin}: cluster {cluster}"
        _check_name(str(cluster), where)
        settings = dict(_mapping(content, where))
        members = _members(settings.pop("hosts", None), str(cluster), where)
        for name, own in members.items():
            hosts.append(_host(name, str(cluster), {**defaults, **settings, **own}, where))
    for name, own in _members(top.get("hosts") or {}, "h", f"{origin}: hosts").items():
        hosts.append(_host(name, None, {**defaults, **own}, f"{origin}: hosts"))
    names = [host.name for host in hosts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LabError(
            f"{origin} has more than one host named {', '.join(twice)}; every host needs a name of its own", 2
        )
    if not hosts:
        raise LabError(f"{origin} has no hosts; a fleet needs clusters: or hosts: with at least one", 2)
    return Fleet(tuple(hosts))


def _members(value: object, prefix: str, where: str) -> dict[str, dict[str, Any]]:
    if isinstance(value, int) and not isinstance(value, bool):
        return {f"{prefix}{number}": {} for number in range(1, value + 1)}
    if isinstance(value, list):
        value = dict.fromkeys(value)
    return {
        str(name): dict(_mapping(own or {}, f"{where}: {name}"))
        for name, own in _mapping(value, f"{where}: hosts").items()
    }


def _host(name: str, cluster: str | None, settings: Mapping[str, Any], where: str = "fleet") -> HostSpec:
    where = f"{where}: host {name}"
    _check_name(name, where)
    known = {item.name for item in dataclasses.fields(HostSpec)} - {"name", "cluster"}
    _only(settings, sorted(known | {"size"}), where)
    values = {key: value for key, value in settings.items() if value is not None}
    one_size = values.pop("size", None)
    sizes = {**DEFAULT_SIZES, **(dict.fromkeys(DEFAULT_SIZES, one_size) if one_size else {}), **values.get("sizes", {})}
    values["sizes"] = {key: str(size).lower() for key, size in sizes.items()}
    _only(values["sizes"], sorted(DEFAULT_SIZES), f"{where}: sizes")
    for key, size in values["sizes"].items():
        if not SIZE.fullmatch(size):
            raise LabError(f"{where}: size of {key} is {size!r}; expected a number with k, m or g, such as 64m", 2)
    for key, allowed in CHOICES.items():
        if key in values and values[key] not in allowed:
            raise LabError(f"{where}: {key} is {values[key]!r}; expected one of {', '.join(allowed)}", 2)
    for key in ("version", "python", "otp"):
        values[key] = str(values.get(key, HostSpec.__dataclass_fields__[key].default))
    if not VERSION.fullmatch(values["version"]):
        raise LabError(f"{where}: version is {values['version']!r}; expected one such as 4.4.18", 2)
    if "port" in values and not (isinstance(values["port"], int) and 0 < values["port"] < 65536):
        raise LabError(f"{where}: port is {values['port']!r}; expected a number from 1 to 65535", 2)
    return HostSpec(name=name, cluster=cluster, **values)


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise LabError(
            f"{where}: {name!r} is not a name for the lab; expected lower case letters, digits and hyphens", 2
        )


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise LabError(f"{where}: found {type(value).__name__}, expected a mapping", 2)
    return value


def _only(found: Mapping[str, Any], allowed: tuple[str, ...] | list[str], where: str) -> None:
    unknown = sorted(str(key) for key in found if key not in allowed)
    if unknown:
        raise LabError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(allowed)}", 2)
