# zoo with the CPU build of torch. `docker run --rm -v "$PWD:/work" zoo info resnet34`
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/zoo \
    && /opt/zoo/bin/pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu \
    && /opt/zoo/bin/pip install --no-cache-dir .

FROM python:3.12-slim
COPY --from=build /opt/zoo /opt/zoo
RUN useradd --create-home zoo && install --directory --owner zoo /cache /work
ENV PATH=/opt/zoo/bin:$PATH HF_HOME=/cache
USER zoo
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["zoo"]
CMD ["--help"]
