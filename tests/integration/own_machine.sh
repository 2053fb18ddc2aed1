#!/usr/bin/env bash
# own_machine.sh PATH... -- COMMAND...: run a command as root on a machine of its own, which ends with it.
#
# It is this machine, but users, /etc, /opt, /var/lib, /var/log and the network are its own: mounts and network of
# new namespaces.  Every user there may open the PATHs, wherever this machine keeps them.
set -euo pipefail
# What adds users is there, and not every root looks there.
PATH=$PATH:/usr/sbin:/sbin
if [ "${OWN_MACHINE:-}" != inside ]; then
    OWN_MACHINE=inside exec unshare --mount --net --propagation private -- bash "$0" "$@"
fi
paths=()
while [ "$1" != -- ]; do paths+=("$1"); shift; done
shift

mount -t tmpfs -o mode=755 tmpfs /srv
cp -a /etc /srv/etc
mount --bind /srv/etc /etc
for directory in /opt /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$directory"; done

# A directory that only root may enter is replaced by one with nothing in it but what leads to the paths.
shut=()
for number in "${!paths[@]}"; do
    mkdir "/srv/$number"
    mount --bind "${paths[number]}" "/srv/$number"
    entered=/
    IFS=/ read -ra names <<<"${paths[number]}"
    for name in "${names[@]:1}"; do
        entered=${entered%/}/$name
        if [ $((8#$(stat -c %a "$entered") % 2)) = 0 ]; then shut+=("$entered"); break; fi
    done
done
for directory in $(printf '%s\n' "${shut[@]:-}" | sort -u); do
    mount -t tmpfs -o mode=755 tmpfs "$directory"
done
for number in "${!paths[@]}"; do
    path=${paths[number]}
    mkdir -p "$path"
    if [ $((8#$(stat -c %a "/srv/$number") % 2)) = 1 ]; then mount --bind "/srv/$number" "$path"; continue; fi
    for entry in "/srv/$number"/* "/srv/$number"/.[!.]*; do
        [ -e "$entry" ] || continue
        if [ -d "$entry" ]; then mkdir -p "$path/${entry##*/}"; else touch "$path/${entry##*/}"; fi
        mount --bind "$entry" "$path/${entry##*/}"
    done
done

exec "$@"
