# One static binary on an empty base: `docker build -t periplus .`
#
# Where no base image can be pulled, what the first stage makes can be given: `.ci/binary DIR/image`, then
# `docker build --build-context build=DIR -t periplus .`, which is how `.ci/image` does it.
FROM docker.io/library/rust:1-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends libcap2-bin
WORKDIR /src
COPY . .
RUN .ci/binary /image

FROM scratch
COPY --from=build /image /
USER 65532:65532
EXPOSE 53/udp 53/tcp 8080/tcp 8181/tcp 9153/tcp
ENTRYPOINT ["/periplus"]
