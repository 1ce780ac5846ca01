package main

import "slices"

// median is NaN of nothing.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value at a share of the values in their order, between the
// two beside it in proportion. Of nothing it is NaN.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return unknown
	}
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (at-float64(below))*(sorted[above]-sorted[below])
}
