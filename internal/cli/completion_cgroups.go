package cli

import (
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
)

// cgroups is where distributions mount the hierarchies of cgroups (cgroups(7)).
const cgroups = "/sys/fs/cgroup"

// maxCgroups bounds how many are looked at for completions: a shell waits.
const maxCgroups = 10_000

// shortID is how much of a container's id engines show.
const shortID = 12

// units offers the systemd units that have processes, or have had some.
func units(root fs.FS) []string {
	return placesIn(root, func(place event.Place) string { return place.Unit })
}

// containers offers the beginnings of their ids.
func containers(root fs.FS) []string {
	return placesIn(root, func(place event.Place) string {
		return place.Container[:min(len(place.Container), shortID)]
	})
}

// cgroupPaths offers those of the version 2 hierarchy.
func cgroupPaths(root fs.FS) []string {
	if _, err := fs.Stat(root, "cgroup.controllers"); err != nil {
		return nil // that of another version
	}
	return placesIn(root, func(place event.Place) string { return place.Cgroup })
}

// inCgroups offers what is found in the machine's cgroups.
func inCgroups(offer func(root fs.FS) []string) func(*cobra.Command, string) []string {
	return func(*cobra.Command, string) []string { return offer(os.DirFS(cgroups)) }
}

// placesIn are the names that nameOf has for the cgroups of a hierarchy, each once.
func placesIn(root fs.FS, nameOf func(event.Place) string) (names []string) {
	looked := 0
	// An error is of a cgroup that may not be looked at, or is gone.
	_ = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == "." {
			return nil
		}
		if looked++; looked > maxCgroups {
			return fs.SkipAll
		}
		if name := nameOf(cgroup.Parse("/" + path)); isPlain(name) {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names)
}
