# minipachd with the stages, which it runs as processes. `docker/build minipachd` builds it.
ARG BASE_IMAGE=python:3.11-slim-bookworm
# Where packages are downloaded: the base image, or one made from it that trusts more certificates. Nothing else of it stays.
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS build
COPY docker/minipachd.txt /tmp/requirements.txt
# No dependency check: python-pachyderm asks for a protobuf of 2021; protobuf_compat.py makes it work with a current one.
RUN python3 -m venv --without-pip /app/venv \
 && python3 -m pip --python /app/venv/bin/python install --no-cache-dir --no-deps --only-binary :all: -r /tmp/requirements.txt \
 && rm -rf /app/venv/lib/python3.*/site-packages/tensorflow/include /app/venv/lib/python3.*/site-packages/clang

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tuskwatch/minipachd" \
      org.opencontainers.image.description="Pachyderm's PFS and PPS on one machine, with Tuskwatch's stages" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /app/venv /app/venv
COPY protobuf_compat.py /app/
COPY minipachd /app/minipachd/
COPY stages /app/stages/
RUN install -d -o 1000 -g 1000 /data /samples /token
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib
USER 1000:1000
VOLUME /data
EXPOSE 30650
# A container's loopback is reached by nobody: publish the port to loopback only (-p 127.0.0.1:30650:30650). Callers show
# the token that lies in /data/token.
ENTRYPOINT ["python3", "-m", "minipachd"]
CMD ["serve", "--data", "/data", "--listen", "0.0.0.0:30650", "--allow-remote"]
