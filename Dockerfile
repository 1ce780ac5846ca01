# A static binary, alone in its image:
#
#   docker run --rm --privileged --pid=host --network=host tcpstates
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X tcpstates/internal/cli.version=${VERSION}" \
    -o /tcpstates ./cmd/tcpstates

FROM scratch
COPY --from=build /tcpstates /tcpstates
ENTRYPOINT ["/tcpstates"]
