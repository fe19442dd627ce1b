# One image for every service; the command says which one runs.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock /build/requirements.lock
RUN python3 -m venv /venv && /venv/bin/pip install --require-hashes -r /build/requirements.lock
COPY protos/gen /app/protos/gen
COPY shared /app/shared
COPY services /app/services
# Compiled here, because the file system is read-only where it runs.
RUN /venv/bin/python -m compileall -q /app

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app:/app/protos/gen PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 c360 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin c360
# A new volume takes owner and mode of the folder that it covers.
RUN for folder in postgres migrate ingest identity profile consent; do install -d -o c360 -g c360 -m 0700 /secrets/$folder; done \
    && install -d -o c360 -g c360 -m 0700 /keyring /access
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "services.cli", "--help"]
