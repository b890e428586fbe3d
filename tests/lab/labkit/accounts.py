# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Who can enter the hosts: the files for their /etc, made once for all hosts of a lab."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

EMQX_ID = 980
OPS_ID = 2980

ACCOUNTS = {
    "emqx": (EMQX_ID, "EMQX broker"),
    "ops": (OPS_ID, "Unprivileged login with sudo"),
}

SSHD_CONFIG = """\
Port 22
HostKey /etc/ssh/lab_host_key
AuthorizedKeysFile /etc/ssh/lab_authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_*
MaxStartups 500
MaxSessions 100
PidFile /run/sshd.pid
Subsystem sftp internal-sftp
"""

TARGET = """\
[Unit]
Description=A host of the test lab
Requires=basic.target ssh.service
After=basic.target ssh.service
AllowIsolate=yes
"""


def write_accounts(state: Path, addresses: Mapping[str, str]) -> None:
    """Write ``<state>/etc``: the machine's accounts with the lab's added, SSH and sudo settings, host names."""
    etc = state / "etc"
    (etc / "ssh").mkdir(parents=True)
    (etc / "sudoers.d").mkdir(mode=0o755)
    lines: dict[str, list[str]] = {"passwd": [], "group": [], "shadow": []}
    for name, (number, comment) in ACCOUNTS.items():
        lines["passwd"].append(f"{name}:x:{number}:{number}:{comment}:/home/{name}:/bin/bash")
        lines["group"].append(f"{name}:x:{number}:")
        lines["shadow"].append(f"{name}:*:19000:0:99999:7:::")
    for file, added in lines.items():
        kept = [
            line
            for line in Path("/etc", file).read_text(encoding="utf-8").splitlines()
            if line.partition(":")[0] not in ACCOUNTS
        ]
        if file == "shadow":
            # sshd turns a locked account away, and the machine's own passwords are nobody's business here.
            kept = [":".join([line.split(":")[0], "*", *line.split(":")[2:]]) for line in kept]
        (etc / file).write_text("\n".join([*kept, *added]) + "\n", encoding="utf-8")
    (etc / "shadow").chmod(0o640)
    names = "".join(f"{address} {name}\n" for name, address in addresses.items())
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{names}", encoding="ascii")
    (etc / "ssh" / "sshd_config").write_text(SSHD_CONFIG, encoding="ascii")
    (etc / "ssh" / "lab_authorized_keys").write_bytes((state / "key.pub").read_bytes())
    (etc / "ssh" / "lab_host_key").write_bytes((state / "host_key").read_bytes())
    (etc / "ssh" / "lab_host_key").chmod(0o600)
    (etc / "systemd" / "system").mkdir(parents=True)
    (etc / "systemd" / "system" / "lab.target").write_text(TARGET, encoding="ascii")
    (etc / "sudoers.d" / "lab").write_text("ops ALL=(ALL:ALL) NOPASSWD: ALL\n", encoding="ascii")
