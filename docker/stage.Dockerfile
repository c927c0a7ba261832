# A stage. `docker/build NAME` builds it with the arguments that stages/*/pipeline.json give; by hand:
#   docker build -f docker/stage.Dockerfile --build-arg NAME=object-detect --build-arg FOLDER=object_detect -t tuskwatch/object-detect:0.1.0 .
ARG BASE_IMAGE=python:3.11-slim-bookworm
# Where packages are downloaded: the base image, or one made from it that trusts more certificates. Nothing else of it stays.
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS build
ARG FOLDER
COPY stages/${FOLDER}/requirements.txt /tmp/requirements.txt
RUN python3 -m venv --without-pip /app/venv \
 && python3 -m pip --python /app/venv/bin/python install --no-cache-dir --no-deps --only-binary :all: -r /tmp/requirements.txt \
 && python3 -m pip --python /app/venv/bin/python check \
 # Where TensorFlow is among them: its C++ headers and the clang that its compiler tools call are 350 MB that running a graph never opens.
 && rm -rf /app/venv/lib/python3.*/site-packages/tensorflow/include /app/venv/lib/python3.*/site-packages/clang

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG NAME
ARG FOLDER
ARG DESCRIPTION=
LABEL org.opencontainers.image.title="tuskwatch/${NAME}" \
      org.opencontainers.image.description="${DESCRIPTION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /app/venv /app/venv
COPY stages/__init__.py /app/stages/
COPY stages/common/*.py /app/stages/common/
COPY stages/contract/*.py /app/stages/contract/
COPY stages/${FOLDER}/*.py stages/${FOLDER}/*.schema.json /app/stages/${FOLDER}/
# A fixed name for the command below, which takes no argument of the build. Pipelines run stages.FOLDER, as their specs say.
RUN ln -s /app/stages/${FOLDER}/__main__.py /app/stage.py
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib
# The uid of Pachyderm's own worker containers. Pachyderm mounts /pfs and /tmp; nothing else is written to.
USER 1000:1000
CMD ["python3", "-m", "stage"]
