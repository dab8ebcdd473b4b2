#!/bin/bash
# Boots a systemd of its own, in namespaces of its own, on a copy of this host's file system: whatever it, its units and
# their programs write stays in memory and is gone with them. Before systemd starts it is made sure that this is so, since
# a booting systemd empties /tmp.
#
#   unshare --fork --pid --mount --cgroup --ipc --uts --net systemd.sh <empty folder> <systemd> <folder to show>...
set -eu
work=$1 systemd=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$work"
root=$work/root
mkdir "$work/upper" "$work/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" overlay "$root"
for folder in tmp var/tmp run; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
mount -t proc proc "$root/proc"
mount -o bind,ro "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
for folder; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
  mount -o remount,bind,ro "$root$folder"
done
mkdir -p "$root/mnt/host"
cd "$root"
pivot_root . mnt/host
cd /
umount -l /mnt/host

refuse() { echo "systemd.sh: $1: systemd is not started"; exit 1; }
[ "$(stat -f -c %T /)" = overlayfs ] || refuse "this is not the copy"
for folder in /tmp /var/tmp /run; do [ "$(stat -f -c %T "$folder")" = tmpfs ] || refuse "$folder is not its own"; done
[ -z "$(ls -A /mnt/host)" ] || refuse "the host's files can still be reached"
[ "$$" = 1 ] || refuse "this is not the first process"

ip link set lo up
# Only what a test asks for is started: no unit of the host, and nothing that looks after the machine.
rm -rf /etc/systemd/system /{lib,usr/lib}/systemd/system/*.{wants,requires} /{lib,usr/lib}/systemd/system-generators /etc/fstab
mkdir -p /etc/systemd/system
export container=sluice
exec "$systemd" --system --unit=multi-user.target --log-level=notice --log-target=console --show-status=no
