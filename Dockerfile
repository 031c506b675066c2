FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/onrecord
ENV PATH=/opt/onrecord/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements-build.lock requirements.lock ./
# numpy's own tests are 16 MB that nothing imports.
RUN pip install --no-deps --require-hashes -r requirements-build.lock \
 && pip install --no-deps --no-build-isolation --require-hashes -r requirements.lock \
 && find /opt/onrecord/lib/python3*/site-packages/numpy -depth -type d -name tests -exec rm -r {} +
COPY pyproject.toml README.md LICENSE ./
COPY ingest ingest
COPY index index
COPY app app
# What builds is not needed to run, and what downloads models (a library's library) finds none here.
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes hf-xet setuptools pip

FROM python:3.11-slim
LABEL org.opencontainers.image.title="On Record" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/onrecord /opt/onrecord
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin onrecord \
 && install -d -o 10001 -g 10001 -m 700 /index \
 && install -d /corpus
ENV PATH=/opt/onrecord/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ONRECORD_INDEX_DIR=/index
# By number, or Kubernetes cannot tell that it is not root.
USER 10001:10001
WORKDIR /
VOLUME /index
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=15s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["onrecord"]
# Refused without ONRECORD_API_KEYS: docs/access.md
CMD ["serve", "--host", "0.0.0.0"]
