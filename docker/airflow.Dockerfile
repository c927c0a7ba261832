# Airflow with Tuskwatch's provider and DAGs; no stage runs in it. `docker/build airflow` builds it.
ARG BASE_IMAGE=python:3.11-slim-bookworm
# Where packages are downloaded: the base image, or one made from it that trusts more certificates. Nothing else of it stays.
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS build
COPY docker/airflow.txt /tmp/requirements.txt
# No dependency check: python-pachyderm asks for a protobuf of 2021; protobuf_compat.py makes it work with a current one.
RUN python3 -m venv --without-pip /app/venv \
 && python3 -m pip --python /app/venv/bin/python install --no-cache-dir --no-deps --only-binary :all: -r /tmp/requirements.txt

# The project's entry points, by which Airflow finds the provider and the dashboard; its code is copied below.
FROM build AS entry-points
COPY pyproject.toml README.md LICENSE protobuf_compat.py /project/
COPY plugins /project/plugins/
RUN python3 -m pip --python /app/venv/bin/python install --no-cache-dir --no-deps --target /entry-points /project \
 && find /entry-points -mindepth 1 -maxdepth 1 ! -name '*.dist-info' -exec rm -r {} +

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tuskwatch/airflow" \
      org.opencontainers.image.description="Airflow with the Pachyderm provider and Tuskwatch's DAGs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY --from=build /app/venv /app/venv
COPY --from=entry-points /entry-points /app/entry-points
COPY protobuf_compat.py /app/
COPY plugins /app/plugins/
COPY dags /app/dags/
COPY stages /app/stages/
COPY docker/airflow-secrets.py docker/airflow-health.py docker/tls.py /app/docker/
RUN install -d -o 1000 -g 1000 /airflow /secrets /pachd-token
ENV PATH=/app/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app:/app/plugins:/app/entry-points \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/app/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    # The user has a number and no name; Airflow wants one.
    HOME=/airflow \
    USER=airflow
USER 1000:1000
VOLUME /airflow
EXPOSE 8080
ENTRYPOINT ["airflow"]
CMD ["version"]
