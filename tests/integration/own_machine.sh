#!/usr/bin/env bash
# own_machine.sh PATH... -- COMMAND...: run a command as root on a machine of its own, which ends with it.
#
# It is this machine, but users, /etc, /opt, /var/lib, /var/log and the network are its own: mounts and network of
# new namespaces.  Every user there may open the PATHs, wherever this machine keeps them.
set -euo pipefail
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

# Directories above the paths that only root may enter are replaced by ones with nothing else in them.
shut=()
for number in "${!paths[@]}"; do
    mkdir "/srv/$number"
    mount --bind "${paths[number]}" "/srv/$number"
    above=/
    IFS=/ read -ra names <<<"$(dirname "${paths[number]}")"
    for name in "${names[@]:1}"; do
        above=${above%/}/$name
        if [ $((8#$(stat -c %a "$above") % 2)) = 0 ]; then shut+=("$above"); break; fi
    done
done
for directory in $(printf '%s\n' "${shut[@]:-}" | sort -u); do
    mount -t tmpfs -o mode=755 tmpfs "$directory"
done
for number in "${!paths[@]}"; do
    [ -d "${paths[number]}" ] || mkdir -p "${paths[number]}"
    mount --bind "/srv/$number" "${paths[number]}"
done

exec "$@"
