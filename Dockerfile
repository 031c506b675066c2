# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/onrecord
ENV PATH=/opt/onrecord/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements-build.lock requirements.lock ./
RUN pip install --no-deps --require-hashes -r requirements-build.lock \
 && pip install --no-deps --no-build-isolation --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY ingest ingest
COPY index index
COPY app app
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes setuptools pip

FROM python:3.11-slim
COPY --from=build /opt/onrecord /opt/onrecord
RUN useradd --system --uid 10001 --no-create-home onrecord && install -d -o onrecord /index /corpus
ENV PATH=/opt/onrecord/bin:$PATH PYTHONUNBUFFERED=1 ONRECORD_INDEX_DIR=/index
USER onrecord
WORKDIR /
VOLUME /index
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=15s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["onrecord"]
CMD ["serve", "--host", "0.0.0.0"]
