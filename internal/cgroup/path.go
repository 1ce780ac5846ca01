// Package cgroup finds out where a process runs, from the cgroup that it is
// in. It asks the kernel alone, no container engine and no systemd.
package cgroup

import (
	"strings"

	"tcpstates/internal/event"
)

// Parse reads what the path of a cgroup tells. Engines and systemd have their
// ways to name cgroups, which the test's table shows; of nested ones the
// innermost counts.
func Parse(path string) event.Place {
	place := event.Place{Cgroup: path}
	for name := range strings.SplitSeq(path, "/") {
		if id := containerID(name); id != "" {
			place.Container = id
		}
		if uid := podUID(name); uid != "" {
			place.Pod = uid
		}
		if unit := unitName(name); unit != "" {
			place.Unit = unit
		}
	}
	return place
}

// idLength is how many hexadecimal digits Docker, containerd, CRI-O and Podman
// give a container.
const idLength = 64

// containerID finds the id in the name of a container's cgroup: the id alone,
// or behind a word of the engine's and a dash or colon, as a systemd scope or
// not. The scope of conmon, which only watches over a container, has the
// container's id but is outside of it.
func containerID(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	if len(name) < idLength {
		return ""
	}
	prefix, id := name[:len(name)-idLength], name[len(name)-idLength:]
	switch {
	case !isHex(id), strings.Contains(prefix, "conmon"):
		return ""
	case prefix == "", strings.HasSuffix(prefix, "-"), strings.HasSuffix(prefix, ":"):
		return id
	}
	return ""
}

// podUID finds the uid of a Kubernetes pod in the name of its cgroup: behind
// "pod", with underscores for dashes where systemd keeps the cgroups. Pods
// from files have a uid without dashes.
func podUID(name string) string {
	name, _, _ = strings.Cut(name, ":") // what runc puts behind an unexpanded slice
	name = strings.TrimSuffix(name, ".slice")
	if i := strings.LastIndex(name, "-pod"); i >= 0 && strings.HasPrefix(name, "kubepods") {
		name = name[i+1:]
	}
	uid, found := strings.CutPrefix(name, "pod")
	if !found {
		return ""
	}
	uid = strings.ReplaceAll(uid, "_", "-")
	if digits := strings.ReplaceAll(uid, "-", ""); len(digits) != 32 || !isHex(digits) {
		return ""
	}
	return uid
}

// unitName is the systemd unit whose cgroup has the name. systemd puts an
// underscore before names that would collide with a controller's
// (cg_escape).
func unitName(name string) string {
	for _, suffix := range []string{".service", ".scope", ".slice", ".socket", ".mount", ".swap"} {
		if strings.HasSuffix(name, suffix) {
			return strings.TrimPrefix(name, "_")
		}
	}
	return ""
}

func isHex(text string) bool {
	return strings.Trim(text, "0123456789abcdef") == ""
}
