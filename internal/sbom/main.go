// Sbom writes what a Go binary is made of, as a bill of materials in CycloneDX
// JSON:
//
//	sbom VERSION BINARY >FILE
//
// All of it but the version is what the linker has left in the binary, as
// go version -m prints it. The same binary has the same bill: it holds no time
// and no serial number.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom VERSION BINARY")
		os.Exit(2)
	}
	bill, err := billOfFile(os.Args[1], os.Args[2])
	if err == nil {
		_, err = os.Stdout.Write(bill)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

// billOfFile is the bill of a binary as a JSON text.
func billOfFile(version, path string) ([]byte, error) {
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the binary: %w", err)
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("read what %s was built from: %w", path, err)
	}
	text, err := json.MarshalIndent(billOf(version, info, sha256.Sum256(binary)), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the bill of %s: %w", path, err)
	}
	return append(text, '\n'), nil
}
