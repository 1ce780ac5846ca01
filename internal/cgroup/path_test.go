package cgroup

import (
	"strings"
	"testing"

	"tcpstates/internal/event"
)

const (
	id  = "3f4a1c9be0d27786b5e2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718"
	id2 = "ffffffffe0d27786b5e2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718"
	uid = "9c1d2e3f-4a5b-6c7d-8e9f-0a1b2c3d4e5f"
)

// TestParse goes through the shapes of paths that engines and systemd make.
func TestParse(t *testing.T) {
	underscored := strings.ReplaceAll(uid, "-", "_")
	plain := strings.ReplaceAll(uid, "-", "")
	for _, test := range []struct {
		name, path           string
		container, unit, pod string
	}{
		{name: "nothing", path: ""},
		{name: "root", path: "/"},
		{name: "service", path: "/system.slice/nginx.service", unit: "nginx.service"},
		{name: "template", path: "/system.slice/system-getty.slice/getty@tty1.service", unit: "getty@tty1.service"},
		{name: "session", path: "/user.slice/user-1000.slice/session-3.scope", unit: "session-3.scope"},
		{name: "user service", path: "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-42.scope",
			unit: "app-firefox-42.scope"},
		{name: "delegated", path: "/system.slice/containerd.service/kubelet", unit: "containerd.service"},
		{name: "slice alone", path: "/machine.slice", unit: "machine.slice"},
		{name: "escaped", path: "/system.slice/_cpu.service", unit: "cpu.service"},
		{name: "Docker, cgroupfs", path: "/docker/" + id, container: id},
		{name: "Docker, systemd", path: "/system.slice/docker-" + id + ".scope", container: id, unit: "docker-" + id + ".scope"},
		{name: "Docker, inside", path: "/system.slice/docker-" + id + ".scope/init.scope", container: id, unit: "init.scope"},
		{name: "containerd", path: "/default/" + id, container: id},
		{name: "nerdctl", path: "/system.slice/nerdctl-" + id + ".scope", container: id, unit: "nerdctl-" + id + ".scope"},
		{name: "Kubernetes, cgroupfs", path: "/kubepods/burstable/pod" + uid + "/" + id, container: id, pod: uid},
		{name: "Kubernetes, guaranteed", path: "/kubepods/pod" + uid + "/" + id, container: id, pod: uid},
		{name: "Kubernetes, static pod", path: "/kubepods/burstable/pod" + plain + "/" + id, container: id, pod: plain},
		{name: "Kubernetes, systemd", path: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored +
			".slice/cri-containerd-" + id + ".scope", container: id, pod: uid, unit: "cri-containerd-" + id + ".scope"},
		{name: "Kubernetes, guaranteed, systemd", path: "/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + id + ".scope",
			container: id, pod: uid, unit: "crio-" + id + ".scope"},
		{name: "Kubernetes, unexpanded", path: "/system.slice/containerd.service/kubepods-burstable-pod" + underscored +
			".slice:cri-containerd:" + id, container: id, pod: uid, unit: "containerd.service"},
		{name: "kind", path: "/docker/" + id2 + "/kubelet.slice/kubelet-kubepods.slice/kubepods/pod" + uid + "/" + id,
			container: id, pod: uid, unit: "kubelet-kubepods.slice"},
		{name: "CRI-O's conmon", path: "/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-conmon-" + id + ".scope",
			pod: uid, unit: "crio-conmon-" + id + ".scope"},
		{name: "Podman", path: "/machine.slice/libpod-" + id + ".scope", container: id, unit: "libpod-" + id + ".scope"},
		{name: "Podman, inside", path: "/machine.slice/libpod-" + id + ".scope/container", container: id, unit: "libpod-" + id + ".scope"},
		{name: "Podman, rootless", path: "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope",
			container: id, unit: "libpod-" + id + ".scope"},
		{name: "Podman's conmon", path: "/machine.slice/libpod-conmon-" + id + ".scope", unit: "libpod-conmon-" + id + ".scope"},
		{name: "Podman, no systemd", path: "/libpod_parent/libpod-" + id, container: id},
		{name: "no id", path: "/system.slice/docker-" + id[1:] + ".scope", unit: "docker-" + id[1:] + ".scope"},
		{name: "not hexadecimal", path: "/docker/g" + id[1:]},
		{name: "longer than an id", path: "/docker/a" + id},
		{name: "a podium", path: "/podium/pod-of-peas"},
	} {
		want := event.Place{Cgroup: test.path, Container: test.container, Unit: test.unit, Pod: test.pod}
		if got := Parse(test.path); got != want {
			t.Errorf("%s: %s\n got %+v\nwant %+v", test.name, test.path, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/kubepods/burstable/pod" + uid + "/" + id)
	f.Fuzz(func(t *testing.T, path string) {
		place := Parse(path)
		if place.Container != "" && (len(place.Container) != idLength || !strings.Contains(path, place.Container)) {
			t.Errorf("%q: container %q", path, place.Container)
		}
	})
}
