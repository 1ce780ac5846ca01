package probe

import (
	"strings"

	"github.com/cilium/ebpf/btf"
)

// resetNames are the running kernel's words for why it sends a reset, by their
// numbers, which differ from one kernel to the next.
type resetNames map[int32]string

// resetPrefix begins each name of enum sk_rst_reason (include/net/rstreason.h).
const resetPrefix = "SK_RST_REASON_"

// resetNamesOf reads them; before Linux 6.10 there are none.
func resetNamesOf(kernel *btf.Spec) resetNames {
	names := resetNames{}
	var reasons *btf.Enum
	if kernel.TypeByName("sk_rst_reason", &reasons) != nil {
		return names
	}
	for _, value := range reasons.Values {
		names[int32(value.Value)] = strings.TrimPrefix(value.Name, resetPrefix)
	}
	return names
}

// name is empty for a reason that has none.
func (n resetNames) name(reason int32) string {
	if reason == 0 { // SK_RST_REASON_NOT_SPECIFIED
		return ""
	}
	return n[reason]
}
