# riskd in a container.  Written by the reference of Dockerfiles and not built; docs/services.md has the steps.
#
# The stream listens on the loopback only, so run it with --network host.

FROM python:3.11-slim AS build
COPY . /source
RUN python -m venv /opt/riskd && /opt/riskd/bin/pip install --no-cache-dir '/source[metrics,alerts]'

FROM python:3.11-slim
# A number, so that a key file outside can be given to the same user.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/riskd riskd \
    && install -d -m 750 -o riskd -g riskd /var/lib/riskd
COPY --from=build /opt/riskd /opt/riskd
ENV PATH=/opt/riskd/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER riskd
WORKDIR /var/lib/riskd
VOLUME /var/lib/riskd
# SIGTERM is a clean end.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["riskctl", "--state", "/var/lib/riskd", "status"]
ENTRYPOINT ["twistd", "-n", "--pidfile=", "riskd"]
CMD ["--config", "/etc/riskd/riskd.toml", "--state", "/var/lib/riskd"]
