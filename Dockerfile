# The service with Chromium. Build: docker build -t optical-memory .
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 memory

WORKDIR /app
COPY pyproject.toml README.md LICENSE NOTICE.md ./
COPY LICENSES LICENSES
COPY optical_memory optical_memory
RUN pip install --no-cache-dir '.[service,chromium,otel]'

USER memory
ENV OPTICAL_MEMORY_HOST=0.0.0.0 OPTICAL_MEMORY_LOG_FORMAT=json
EXPOSE 8321
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8321/healthz')"]
ENTRYPOINT ["optical-memory"]
CMD ["serve"]
