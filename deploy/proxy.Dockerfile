# nginx in front of the replicas, on the base image that the service and the trainer use.
FROM python:3.11.14-slim-bookworm
# No version pin: Debian's archive has only the newest build of a package, so a pinned one soon cannot be installed.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y -qq --no-install-recommends nginx libnginx-mod-http-lua \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY deploy/proxy/nginx.conf deploy/proxy/entrypoint.sh /opt/proxy/
ENV DIGITS_MAX_BODY_BYTES=16777216 DIGITS_RECEIVE_TIMEOUT_SECONDS=30 \
    PROXY_CONNECTIONS_PER_CLIENT=100 PROXY_UPLOADS_PER_CLIENT=16
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGQUIT
# Healthy: at least one replica is ready.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["python", "-c", "\
from http.client import HTTPConnection as Connection; import sys; \
connection = Connection('127.0.0.1', 8000, timeout=3); connection.request('GET', '/readyz'); \
sys.exit(connection.getresponse().status != 200)"]
CMD ["sh", "/opt/proxy/entrypoint.sh"]
