package cli

import (
	"fmt"
	"time"

	"tcpstates/internal/feature"
	"tcpstates/internal/output"
)

// openJournal joins the events to journald; nil if that is not wanted. pids says
// that the owners' numbers are those of this machine's processes.
func (a *app) openJournal(flags *viewFlags, show *show, pids bool) (*output.Journal, error) {
	if !flags.journal {
		return nil, nil
	}
	journal, err := output.NewJournal(output.JournalOptions{
		Of:   show.subject,
		PIDs: pids,
		Failed: func(err error) {
			fmt.Fprintf(a.stderr, "tcpstates: journald takes no events: %v: see systemctl status systemd-journald; the trace goes on\n", err)
		},
	})
	if err != nil {
		missing := &feature.Missing{
			What: "--journal needs systemd-journald, and it does not answer: start it with systemctl start systemd-journald.socket, " +
				"bind-mount /run/systemd/journal into a container, or leave out --journal",
			Err: err,
		}
		a.explain(flags, missing)
		return nil, missing
	}
	return journal, nil
}

// journalPatience is how long the last events may wait for journald.
const journalPatience = 3 * time.Second

// closeJournal waits for journald to take the last events, and tells of those
// that it has not taken.
func (a *app) closeJournal(journal *output.Journal) {
	if journal == nil {
		return
	}
	if missed := journal.Close(journalPatience); missed > 0 {
		fmt.Fprintf(a.stderr, "tcpstates: %d events are not in the journal: journald did not take them, or not in time\n", missed)
	}
}
