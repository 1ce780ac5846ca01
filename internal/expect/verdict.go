package expect

import (
	"slices"

	"github.com/expr-lang/expr/vm"

	"tcpstates/internal/event"
	"tcpstates/internal/query"
)

// Verdict is whether a rule holds.
type Verdict struct {
	Rule *Rule
	Held bool
	// Why are sentences that say why it does not hold, the one that says most first.
	Why []string
	// Conns are connections that show it, at most 5: the worst first where a number
	// orders them, and by their beginning else. More is how many others do.
	Conns []*Conn
	More  int
}

// Verdicts judges the connections that were seen so far, in the order of the rules.
// filters are those in force, in words, for a rule that needs a connection where none
// was seen; empty: none.
func (j *Judge) Verdicts(filters string) []Verdict {
	env := j.environment()
	var verdicts []Verdict
	for _, rule := range j.rules {
		x := explainer{
			rule: rule, env: env, filters: filters, verdict: Verdict{Rule: rule},
			// Lists that are made of the connections count by their elements.
			machine: vm.VM{MemoryBudget: memoryBudget + uint(64*len(j.conns))},
		}
		x.judge()
		verdicts = append(verdicts, x.verdict)
	}
	return verdicts
}

// memoryBudget is how many elements the lists can have that an expression makes, beside
// a number of them for each connection.
const memoryBudget = 1_000_000

// environment is what the rules are evaluated with.
func (j *Judge) environment() map[string]any {
	var names []string
	for _, rule := range j.rules {
		names = append(names, rule.uses...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var reader query.Reader
	conns, clients, servers, listeners := []any{}, []any{}, []any{}, []any{}
	for _, c := range j.all() {
		values := c.values(names, &reader)
		switch c.event.Role {
		case event.RoleListener:
			listeners = append(listeners, values)
			continue
		case event.RoleClient:
			clients = append(clients, values)
		case event.RoleServer:
			servers = append(servers, values)
		}
		conns = append(conns, values)
	}
	return map[string]any{"conns": conns, "clients": clients, "servers": servers, "listeners": listeners}
}
