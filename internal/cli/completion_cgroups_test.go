package cli

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestOffersFromCgroups(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	root := fstest.MapFS{
		"cgroup.controllers":                                       {},
		"init.scope/cgroup.procs":                                  {},
		"system.slice/nginx.service/cgroup.procs":                  {},
		"system.slice/docker-" + id + ".scope/worker/cgroup.procs": {},
		"system.slice/with\x1b[2J.service/cgroup.procs":            {},
	}
	scope := "docker-" + id + ".scope"
	for _, test := range []struct {
		what      string
		got, want []string
	}{
		{"units", units(root), []string{scope, "init.scope", "nginx.service", "system.slice"}},
		{"containers", containers(root), []string{id[:12]}},
		{"cgroups", cgroupPaths(root), []string{
			"/init.scope", "/system.slice", "/system.slice/" + scope, "/system.slice/" + scope + "/worker", "/system.slice/nginx.service",
		}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s -want +got:\n%s", test.what, diff)
		}
	}
	delete(root, "cgroup.controllers")
	if got := cgroupPaths(root); len(got) != 0 {
		t.Errorf("%v are offered, and are no cgroups of version 2", got)
	}
	for i := range maxCgroups + 100 {
		root[fmt.Sprintf("many/%d.service/cgroup.procs", i)] = &fstest.MapFile{}
	}
	if got := units(root); len(got) > maxCgroups {
		t.Errorf("%d units of many are offered", len(got))
	}
}
