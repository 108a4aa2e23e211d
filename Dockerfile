# The production image: Airflow with prodsys, HTCondor's Python bindings and command-line client libraries.
#
#   docker build -t prodsys .
#   docker run --init -v ./airflow.cfg:/opt/airflow/airflow.cfg:ro prodsys scheduler
#
# One image for all components: api-server, scheduler, triggerer, dag-processor. Configuration and specs are mounted, not
# baked in. jobsub_lite is the site's own: derive an image that installs it, and its token tools, onto PATH.

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src
COPY requirements.txt requirements-test.txt ./
# uv at the locked version. The environment is at the path where it will run, for its scripts name it.
RUN python -m venv /opt/prodsys \
 && pip install "$(sed -n 's|^\(uv==[^ ;]*\).*|\1|p' requirements-test.txt)" \
 && uv pip sync --python /opt/prodsys/bin/python requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY include include
COPY embedded embedded
COPY plugins plugins
RUN uv pip install --python /opt/prodsys/bin/python --no-deps --build-constraints requirements-test.txt .

FROM python:3.12-slim
RUN groupadd --gid 50000 airflow \
 && useradd --uid 50000 --gid airflow --home-dir /opt/airflow --create-home --shell /bin/bash airflow
COPY --from=build /opt/prodsys /opt/prodsys
COPY airflow.cfg.template /opt/prodsys/share/airflow.cfg.template
ENV PATH=/opt/prodsys/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1
USER airflow
WORKDIR /opt/airflow
EXPOSE 8080
ENTRYPOINT ["airflow"]
CMD ["version"]
