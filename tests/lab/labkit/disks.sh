#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
# Usage: disks.sh FSTAB READY   Holds the hosts' file systems in a mount namespace of its own for as long as it lives:
# a host that loses its power finds them again, and when this process is gone they are gone too.
set -e
mount --make-rprivate /
mount --all --fstab "$1"
: > "$2"
exec sleep infinity
