package privilege

import (
	"os/user"
	"strconv"
	"testing"
)

func TestParseUser(t *testing.T) {
	for text, want := range map[string]User{
		"root":                  {0, 0},
		"0":                     {0, 0},
		"54321":                 {54321, 54321}, // nobody's
		"54321:7":               {54321, 7},
		"0:7":                   {0, 7},
		"4294967294:4294967294": {1<<32 - 2, 1<<32 - 2},
	} {
		if got, err := ParseUser(text); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	if daemon, err := user.Lookup("nobody"); err == nil {
		gid, _ := strconv.Atoi(daemon.Gid)
		byName, err := ParseUser("nobody")
		byNumber, numberErr := ParseUser(daemon.Uid)
		if err != nil || numberErr != nil || byName != byNumber || byName.GID != gid {
			t.Errorf("nobody is %v, %v, and by the number %v, %v", byName, err, byNumber, numberErr)
		}
	}
	for _, text := range []string{
		"", ":", "no such user", "root:0", "1:", ":1", "1:root", "1:2:3", "-1", "1:-1", "+1", " 1", "0x1",
		"4294967295", "1:4294967295", "4294967296", "99999999999999999999", "\x00", "root\n",
	} {
		if got, err := ParseUser(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
