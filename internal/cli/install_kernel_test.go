package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpstates/internal/kerneltest"
)

// TestInstalledWithCapabilities installs the command as make install CAPS=1
// does, and traces with it as a user who has no privileges.
func TestInstalledWithCapabilities(t *testing.T) {
	kerneltest.Require(t)
	kerneltest.RequireCommand(t, "make")
	kerneltest.RequireCommand(t, "setcap")
	root, err := os.MkdirTemp("", "tcpstates-install-") // t.TempDir is for its owner alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("make", "-C", "../..", "install", "CAPS=1", "DESTDIR="+root, "PREFIX=/usr").CombinedOutput()
	if err != nil {
		t.Fatalf("make install: %v: %s", err, out)
	}

	cmd := exec.Command(filepath.Join(root, "usr/bin/tcpstates"), "-o", "json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	said := requireTraces(t, cmd, true, func(pid int) {
		requireTwoCapabilities(t, pid, "CapInh", "CapPrm", "CapEff", "CapAmb")
		if uids := statusOf(t, pid)["Uid"]; uids != "65534\t65534\t65534\t65534" {
			t.Errorf("the command runs as user %q, want nobody", uids)
		}
	})
	if !strings.Contains(said, saysLess) {
		t.Errorf("stderr is %q, want %q in it", said, saysLess)
	}
}
