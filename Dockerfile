# One image for every service; the command says which one runs.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# With OpenTelemetry, which takes 4 MB and is asleep until C360_OTLP_ENDPOINT names a collector.
COPY requirements-image.lock /build/requirements-image.lock
RUN python3 -m venv /venv && /venv/bin/pip install --require-hashes -r /build/requirements-image.lock
# What runs from /app is no installed package; a service tells its version by what one would have left here.
COPY pyproject.toml /build/pyproject.toml
RUN version=$(sed -n 's/^version = "\(.*\)"$/\1/p' /build/pyproject.toml) \
    && about=$(echo /venv/lib/python3.*/site-packages)/customer360-$version.dist-info && mkdir "$about" \
    && printf 'Metadata-Version: 2.1\nName: customer360\nVersion: %s\n' "$version" > "$about/METADATA"
COPY protos/gen /app/protos/gen
COPY shared /app/shared
COPY services /app/services
# Compiled here, because the file system is read-only where it runs.
RUN /venv/bin/python -m compileall -q /app

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app:/app/protos/gen PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 c360 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin c360
# A new volume takes owner and mode of the folder that it covers.
RUN install -d -o c360 -g c360 -m 0700 /keyring /access /issuer /data /data/secrets /secrets/issuer /secrets/issuer/public /volumes/nats /volumes/nats-2 /volumes/nats-3 /volumes/prometheus /volumes/grafana \
    && for reader in postgres nats migrate ingest identity profile consent grafana; do install -d -o c360 -g c360 -m 0700 /secrets/$reader; done
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "services.cli", "--help"]
