FROM python:3.13-slim AS build
# also: s3, clickhouse, ray (docs/growing.md), lance (vectors of very large indexes), bigquery
ARG EXTRAS=server,embed,postgres,oidc
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY examples examples
RUN python -m venv /opt/windlass && /opt/windlass/bin/pip install --no-cache-dir ".[$EXTRAS]"

FROM python:3.13-slim
RUN useradd --create-home windlass && mkdir /data && chown windlass /data
COPY --from=build /opt/windlass /opt/windlass
USER windlass
ENV PATH=/opt/windlass/bin:$PATH WINDLASS_HOME=/data
VOLUME /data
EXPOSE 4747 4317
# listens beyond this container, so it wants WINDLASS_OWNER_KEY
CMD ["windlass", "up", "--host", "0.0.0.0", "--no-tour"]
