package filter

// Rows are all filters, in the order of the help.
var Rows = []Row{
	{Name: "lport", Short: "L", Takes: "PORTS", Help: "only connections with one of these local ports: 80,443,8000-8010; '!22' excludes",
		accepts: acceptsPorts, list: true, Listed: true, waits: forLocalEnd, parse: parsePorts(local), lower: lowerPorts},
	{Name: "rport", Short: "D", Takes: "PORTS", Help: "only connections with one of these remote ports",
		accepts: acceptsPorts, list: true, Listed: true, parse: parsePorts(remote), lower: lowerPorts},
	{Name: "port", Takes: "PORTS", Help: "only connections with one of these ports at either end",
		accepts: acceptsPorts, list: true, Listed: true, waits: forLocalEnd, parse: parsePorts(either), lower: lowerPorts},
	{Name: "laddr", Takes: "ADDRESSES", Help: "only connections with one of these local addresses: 10.0.0.0/8,fe80::/10",
		accepts: acceptsAddrs, list: true, Listed: true, waits: forLocalEnd, parse: parseAddrs(local), lower: lowerAddrs},
	{Name: "raddr", Takes: "ADDRESSES", Help: "only connections with one of these remote addresses",
		accepts: acceptsAddrs, list: true, Listed: true, parse: parseAddrs(remote), lower: lowerAddrs},
	{Name: "addr", Takes: "ADDRESSES", Help: "only connections with one of these addresses at either end",
		accepts: acceptsAddrs, list: true, Listed: true, waits: forLocalEnd, parse: parseAddrs(either), lower: lowerAddrs},
	{Name: "pid", Short: "p", Takes: "PIDS", Help: "only connections of these processes",
		accepts: "process ids, such as 4711,4712", list: true, Listed: true, waits: forOwner,
		parse: numbersBy(readPID, pidOf), lower: lowerPIDs},
	{Name: "comm", Takes: "NAMES", Help: "only connections of processes of these names: nginx,'postgres*'",
		accepts: "names of processes and patterns of them, such as nginx,'postgres*'", list: true, Listed: true, waits: forOwner, parse: parseComms},
	{Name: "uid", Takes: "USERS", Help: "only connections of these users, by number or name",
		accepts: "numbers of users, or names that /etc/passwd has, such as 0,www-data", list: true, Listed: true, waits: forUser,
		parse: numbersBy(readUID, uidOf), lower: lowerUIDs},
	{Name: "cgroup", Takes: "CGROUPS", Help: "only connections of processes in these cgroups, and in those below: /system.slice",
		accepts: "paths of cgroups, such as /system.slice", list: true, Listed: true, waits: forOwner, parse: parseCgroups},
	{Name: "container", Takes: "IDS", Help: "only connections of these containers, by the beginning of their ids",
		accepts: "ids of containers, or the beginnings of them", list: true, Listed: true, waits: forOwner, parse: parseContainers},
	{Name: "unit", Takes: "UNITS", Help: "only connections of these systemd units: nginx,'user@*'",
		accepts: "systemd units and patterns of them, such as nginx,'user@*'", list: true, Listed: true, waits: forOwner, parse: parseUnits},
	{Name: "netns", Takes: "NETNS", Help: `only these network namespaces: "self", a path, an inode number, or pid:N for that of a process`,
		accepts: `"self", a path such as /run/netns/NAME or /proc/PID/ns/net, pid:N, or an inode number`, list: true,
		parse: numbersBy(readNetns, netnsOf), lower: lowerNetns},
	{Name: "role", Takes: "ROLES", Help: "only clients, servers, listeners, or what is connected to itself: client,server,listener,self",
		accepts: "client, server, listener and self", list: true, waits: forRole, parse: parseRoles},
	{Name: "reason", Takes: "REASONS", Help: "only connections that end so: refused,timed-out,reset-by-peer; they are shown when they have ended",
		accepts: "the reasons that tcpstates conns shows, such as refused,timed-out,reset-by-peer", list: true, waits: forReason, parse: parseReasons},
	{Name: "state", Takes: "STATES", Help: "only what leads into or out of one of these states: established,time-wait",
		accepts: "states such as established,time-wait or SYN_RECV", list: true, Listed: true, of: ofEvent, parse: parseStates},
	{Name: "transition", Takes: "FROM>TO", Help: "only these transitions: 'SYN_SENT>CLOSE'; * is any state",
		accepts: "transitions such as 'SYN_SENT>CLOSE' or '*>ESTABLISHED'", list: true, of: ofEvent, parse: parseTransitions},
	{Name: "min-ms", Takes: "N", Help: "only what has lasted so many milliseconds at least",
		accepts: "a number of milliseconds, such as 50 or 0.5", of: ofEvent, parse: parseLeast},
}

const (
	acceptsPorts = "ports from 1 to 65535 and ranges of them, such as 80,443,8000-8010"
	acceptsAddrs = "addresses and prefixes of them, such as 10.0.0.0/8,fe80::1"
)

// Find looks a filter up by its name; nil if there is none.
func Find(name string) *Row {
	for i := range Rows {
		if Rows[i].Name == name {
			return &Rows[i]
		}
	}
	return nil
}
