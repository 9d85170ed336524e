#!/bin/sh
# Insert the service's limits into nginx.conf, and replace this shell by nginx.
set -eu
sed "s/@MAX_BODY_BYTES@/$DIGITS_MAX_BODY_BYTES/g; s/@RECEIVE_SECONDS@/$DIGITS_RECEIVE_TIMEOUT_SECONDS/g" \
    /opt/proxy/nginx.conf >/tmp/nginx.conf
exec nginx -e /dev/stderr -c /tmp/nginx.conf
