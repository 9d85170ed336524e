# The service: LiteRT and Flask under gunicorn; no TensorFlow, no compiler, no pip.
# Paths are those of the repository, so that the defaults of all settings apply.
FROM python:3.11.14-slim-bookworm AS packages
# No version pin: Debian's archive has only the newest build of a package, so a pinned one soon cannot be installed.
# python3-dev is for a base image with Debian's Python; the official image includes the headers of its own.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y -qq --no-install-recommends gcc libc6-dev python3-dev
RUN python -m venv --without-pip /opt/venv
COPY service/requirements.txt service/requirements-native.txt /build/
RUN python -m pip --python /opt/venv/bin/python install -q --no-cache-dir --disable-pip-version-check --require-hashes \
    -r /build/requirements.txt -r /build/requirements-native.txt
# Removes 40 MB that the service does not use: the packages' own tests, and debugging symbols.
RUN find /opt/venv -type d -name tests -prune -exec rm -r {} + \
    && find /opt/venv/lib -name '*.cpython-*.so' -size +2M -exec strip --strip-debug {} +

FROM python:3.11.14-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DIGITS_HOST=0.0.0.0
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY service service
RUN python -m compileall -q service
COPY --chown=10001:10001 models models
USER 10001:10001
EXPOSE 8000
# Healthy: a model is loaded, and the service is not stopping.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["python", "-c", "\
from http.client import HTTPConnection as Connection; import sys; \
connection = Connection('127.0.0.1', 8000, timeout=3); connection.request('GET', '/readyz'); \
sys.exit(connection.getresponse().status != 200)"]
CMD ["python", "-m", "gunicorn", "--config", "service/gunicorn.conf.py"]
