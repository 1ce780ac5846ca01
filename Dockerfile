# A static binary, alone in its image:
#
#   docker run --rm --cap-drop ALL --cap-add BPF --cap-add PERFMON --pid=host --network=host tcpstates
#
# The compiler runs on the machine's own platform and builds for the wanted one.
# The classic builder knows of neither: there both are the machine's.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X tcpstates/internal/cli.version=${VERSION}" \
    -o /tcpstates ./cmd/tcpstates

FROM scratch
COPY --from=build /tcpstates /tcpstates
ENTRYPOINT ["/tcpstates"]
