//go:build !noceleval

package main

import "wouldblock.dev/controlplane/celeval"

// The oracle is built against the newest release only: what it calls of the API server differs in older ones.
func init() {
	components["celeval"] = celeval.Run
}
