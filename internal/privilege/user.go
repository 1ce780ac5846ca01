package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
)

// User is whom a process may become: a user with one group.
type User struct {
	UID, GID int
}

// String is the user in numbers.
func (u User) String() string { return fmt.Sprintf("%d:%d", u.UID, u.GID) }

// What a user is given by: static binaries know /etc/passwd alone, no directory
// service.
var (
	errNoUser  = errors.New("it takes a name that /etc/passwd has, or numbers: UID, or UID:GID")
	errNoNames = errors.New("there is no /etc/passwd here, so it takes numbers alone: UID, or UID:GID")
)

// ParseUser reads a name, or a UID, or UID:GID. Without a GID the group is the
// user's in /etc/passwd; that of the same number, if the UID has no entry.
func ParseUser(text string) (User, error) {
	uidText, gidText, hasGID := strings.Cut(text, ":")
	uid, err := parseID(uidText)
	switch {
	case err != nil && hasGID:
		return User{}, errNoUser
	case err != nil:
		return entry(user.Lookup(text))
	case hasGID:
		gid, err := parseID(gidText)
		if err != nil {
			return User{}, errNoUser
		}
		return User{UID: uid, GID: gid}, nil
	}
	if u, err := entry(user.LookupId(uidText)); err == nil {
		return u, nil
	}
	return User{UID: uid, GID: uid}, nil
}

// entry takes the numbers of what was looked up.
func entry(found *user.User, err error) (u User, _ error) {
	if errors.Is(err, fs.ErrNotExist) {
		return u, errNoNames
	}
	if err != nil {
		return u, errNoUser
	}
	uid, uidErr := parseID(found.Uid)
	gid, gidErr := parseID(found.Gid)
	if uidErr != nil || gidErr != nil {
		return u, errNoUser
	}
	return User{UID: uid, GID: gid}, nil
}

// noID is what the kernel takes for no user and no group, (uid_t)-1.
const noID = 1<<32 - 1

func parseID(text string) (int, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil && id == noID {
		err = strconv.ErrRange
	}
	return int(id), err
}
