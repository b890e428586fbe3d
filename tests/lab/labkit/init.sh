#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
# Usage: init.sh NAME STATE PYTHON [NETWORK]   Builds a host's root from the machine's and becomes its first process:
#   a shell that serves SSH or, if NETWORK (the file of its network namespace) is given, systemd in a container.
#   STATE   the lab's folder; STATE/disks/NAME/{root,opt,var,tmp} are the host's own file systems
#   PYTHON  folder of another Python to be had in the host under /usr/local/lib/lab-python, or nothing
set -e
name=$1 state=$2 python=$3 network=${4:-}
disk=$state/disks/$name
mount --make-rprivate /

# The machine's files underneath, the host's changes on its own file systems.
mkdir -p "$disk/root/upper" "$disk/root/work" "$disk/root/home-root" "$disk/root/home" "$disk/var/upper" "$disk/var/work" "$disk/var/tmp"

root=$state/mnt/$name  # one each: systemd-nspawn locks the name of the folder
mkdir -p "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/root/upper,workdir=$disk/root/work" "$root"
mount -t overlay overlay -o "lowerdir=/var,upperdir=$disk/var/upper,workdir=$disk/var/work" "$root/var"
chmod 1777 "$disk/var/tmp"
chmod 700 "$disk/root/home-root"
mkdir -p "$root/var/tmp"
mount --bind "$disk/var/tmp" "$root/var/tmp"
mount --bind "$disk/opt" "$root/opt"
mount --bind "$disk/tmp" "$root/tmp"
mount --bind "$disk/root/home-root" "$root/root"
mount --bind "$disk/root/home" "$root/home"
mkdir -p "$root/run" "$root/proc" "$root/sys" "$root/dev"

if [ -z "$network" ]; then
mount -t tmpfs -o size=16m,mode=755 tmpfs "$root/run"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"

# Only harmless devices: the machine's own would be a way out.
mount -t tmpfs -o size=1m,mode=755 tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
fi

if [ -n "$python" ]; then
    mkdir -p "$root/usr/local/lib/lab-python"
    mount --bind "$python" "$root/usr/local/lib/lab-python"
    mount -o remount,bind,ro "$root/usr/local/lib/lab-python"
fi

# Who the host is, and who may enter it. Written once, so that a restarted host keeps what was changed in it.
[ -n "$network" ] || hostname "$name"
if [ ! -e "$disk/root/made" ]; then
    cp -R "$state/etc/." "$root/etc/"
    echo "$name" > "$root/etc/hostname"
    chmod 600 "$root/etc/ssh/lab_host_key"
    chmod 640 "$root/etc/shadow"
    chmod 440 "$root/etc/sudoers.d/lab"
    while IFS=: read -r user _ uid gid _ home _; do
        case $user in emqx | ops) mkdir -p "$root$home" && chown "$uid:$gid" "$root$home" ;; esac
    done < "$state/etc/passwd"
    : > "$disk/root/made"
fi

if [ -n "$network" ]; then
    # The machine may have any services; only what the target names is started. Its own /tmp is one of the host's disks.
    export SYSTEMD_NSPAWN_TMPFS_TMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
    exec systemd-nspawn --quiet --directory="$root" --machine="$name" --register=no --keep-unit --boot --console=pipe \
        --network-namespace-path="$network" --resolv-conf=off --timezone=off --link-journal=no \
        systemd.unit=lab.target systemd.mask=timers.target systemd.mask=systemd-logind.service \
        systemd.mask=systemd-networkd.service systemd.mask=systemd-resolved.service systemd.mask=systemd-timesyncd.service
fi
mkdir -p "$root/run/sshd" "$root/run/lock"

mkdir -p "$root/.machine"
cd "$root"
pivot_root . .machine
umount -l /.machine
rmdir /.machine 2>/dev/null || :

# The kernel's settings are the machine's.
for path in /proc/sys /proc/irq /proc/bus /proc/fs; do
    [ -e "$path" ] || continue
    mount --bind "$path" "$path"
    mount -o remount,bind,ro "$path"
done
[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null /proc/sysrq-trigger
[ ! -e /proc/kcore ] || mount --bind /dev/null /proc/kcore

# Not sshd itself: a host must survive the loss of its sshd. A shell that waits also reaps what daemons leave behind.
exec setpriv --bounding-set "$LAB_DROPPED" --inh-caps "$LAB_DROPPED" \
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/sh -c '
    cd /
    /usr/sbin/sshd
    while :; do sleep 86400 & wait "$!"; done'
