# The training job: `docker run IMAGE train --recipe best`. TensorFlow makes it 2.5 GB, so there is one stage: no layer
# is copied. Paths are those of the repository: mount models, data and runs below /app.
FROM python:3.11.14-slim-bookworm
WORKDIR /app
COPY training/requirements.txt training/
RUN python -m venv --without-pip /opt/venv && python -m pip --python /opt/venv/bin/python install -q --no-cache-dir \
    --disable-pip-version-check --require-hashes -r training/requirements.txt
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
COPY training training
COPY --chown=10001:10001 models models
RUN python -m compileall -q training && install -d -o 10001 -g 10001 data/mnist runs
USER 10001:10001
ENTRYPOINT ["python", "-m", "training"]
CMD ["list"]
