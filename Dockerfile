# One image for Airflow's components and for backup proxies; `lab` adds a compiler for the simulated vSphere.
FROM python:3.11-slim-bookworm AS airflow

ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/vmkeep
COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY include ./include
COPY plugins ./plugins
COPY dags ./dags
RUN pip install --no-deps .

RUN useradd --uid 50000 --gid 0 --create-home airflow \
    && install -d -o airflow -g 0 -m 0775 /opt/airflow /opt/airflow/logs /srv/vmkeep \
    # VDDK crashes without it.
    && ln -sf /proc/self/mounts /etc/mtab
USER airflow

FROM airflow AS lab
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o airflow -g 0 -m 0775 /lab
USER airflow
