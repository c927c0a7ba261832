# The plot stage. `docker/build plot` builds it; so does `docker build -f docker/plot.Dockerfile .`
ARG BASE_IMAGE=python:3.11-slim-bookworm
# Where packages are downloaded: the base image, or one made from it that trusts more certificates. Nothing else of it stays.
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS build
COPY stages/plot/requirements.txt /tmp/requirements.txt
RUN python3 -m venv --without-pip /app/venv \
 && python3 -m pip --python /app/venv/bin/python install --no-cache-dir --no-deps --only-binary :all: -r /tmp/requirements.txt \
 && python3 -m pip --python /app/venv/bin/python check

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tuskwatch/plot" \
      org.opencontainers.image.description="Draws threats by device, by class and over time" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /app/venv /app/venv
COPY stages/__init__.py /app/stages/
COPY stages/common/*.py /app/stages/common/
COPY stages/plot/*.py /app/stages/plot/
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib
# The uid of Pachyderm's own worker containers. Pachyderm mounts /pfs and /tmp; nothing else is written to.
USER 1000:1000
CMD ["python3", "-m", "stages.plot"]
