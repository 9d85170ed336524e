#!/bin/sh
# Replace every replica of the running stack without losing a request: start as many new replicas, wait until all of them
# are healthy, then stop the old ones. Usage: sh deploy/rolling_restart.sh docker compose [-p NAME ...]
set -eu

old=$("$@" ps -q service)
count=$(echo "$old" | wc -w)
[ "$count" -gt 0 ] || { echo "rolling_restart: no replica is running; start the stack first" >&2; exit 2; }
"$@" up -d --no-deps --no-recreate --scale service=$((2 * count)) service

new=
for replica in $("$@" ps -q service); do
    case $old in *"$replica"*) ;; *) new="$new $replica" ;; esac
done

tries=0
for replica in $new; do
    until [ "$(docker inspect -f '{{.State.Health.Status}}' "$replica")" = healthy ]; do
        tries=$((tries + 1))
        if [ $tries -eq 240 ]; then
            echo "rolling_restart: $replica is not healthy after 2 minutes; the old replicas keep running" >&2
            docker rm -f $new >/dev/null
            exit 1
        fi
        sleep 0.5
    done
done

for replica in $old; do
    docker stop -t 40 "$replica" >/dev/null && docker rm "$replica" >/dev/null
    echo "replaced $(echo "$replica" | cut -c 1-12)"
done
