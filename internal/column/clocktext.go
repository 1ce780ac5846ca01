package column

import "time"

// clockText writes wall-clock times. The text of a whole second is kept:
// events come in seconds' runs, and breaking a time into its parts is what
// costs.
type clockText struct {
	second int64
	text   []byte // empty: none is kept
}

// appendMillis appends the local time of day as 15:04:05.000.
func (c *clockText) appendMillis(dst []byte, wall int64) []byte {
	known, nanos := c.keep(wall, time.Local, time.TimeOnly)
	if !known {
		return dst
	}
	dst = append(append(dst, c.text...), '.')
	return appendPadded(dst, nanos/1e6, 3)
}

// appendRFC3339 appends the time in UTC with nine digits behind the point.
func (c *clockText) appendRFC3339(dst []byte, wall int64) []byte {
	known, nanos := c.keep(wall, time.UTC, "2006-01-02T15:04:05")
	if !known {
		return dst
	}
	dst = append(append(dst, c.text...), '.')
	return append(appendPadded(dst, nanos, 9), 'Z')
}

// keep makes c.text that of the second which wall falls into, and returns the
// nanoseconds beyond it; false if there is no time.
func (c *clockText) keep(wall int64, zone *time.Location, layout string) (known bool, nanos int64) {
	if wall == 0 {
		return false, 0
	}
	second, nanos := wall/1e9, wall%1e9
	if nanos < 0 { // before 1970
		second, nanos = second-1, nanos+1e9
	}
	if len(c.text) == 0 || second != c.second {
		c.second = second
		c.text = time.Unix(second, 0).In(zone).AppendFormat(c.text[:0], layout)
	}
	return true, nanos
}
