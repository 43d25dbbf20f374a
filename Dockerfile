# One static binary on an empty base.
FROM docker.io/library/rust:1-alpine AS build
# The TLS provider compiles C.
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
# The Alpine target links musl statically.
RUN cargo build --locked --release && cp target/release/periplus /periplus
# A file capability lets a user without root bind port 53 where the runtime grants NET_BIND_SERVICE.
RUN apk add --no-cache libcap && setcap cap_net_bind_service=+ep /periplus

FROM scratch
COPY --from=build /periplus /periplus
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 53/udp 53/tcp 8080/tcp 8181/tcp 9153/tcp
ENTRYPOINT ["/periplus"]
