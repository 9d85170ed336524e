#!/bin/sh
# Insert the service's limits and those of the proxy into nginx.conf, and replace this shell by nginx.
set -eu
sed "s/@MAX_BODY_BYTES@/$DIGITS_MAX_BODY_BYTES/g; s/@RECEIVE_SECONDS@/$DIGITS_RECEIVE_TIMEOUT_SECONDS/g
    s/@CONNECTIONS_PER_CLIENT@/$PROXY_CONNECTIONS_PER_CLIENT/g; s/@UPLOADS_PER_CLIENT@/$PROXY_UPLOADS_PER_CLIENT/g" \
    /opt/proxy/nginx.conf >/tmp/nginx.conf
exec nginx -e /dev/stderr -c /tmp/nginx.conf
