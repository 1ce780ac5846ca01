package main

import (
	"encoding/hex"
	"path"
	"runtime/debug"
	"strings"
)

// bill is a CycloneDX document, version 1.6, with what is used here of it
// (https://cyclonedx.org/docs/1.6/json/). Licences are left out where nothing
// in the binary tells them, and so is who needs whom.
type bill struct {
	Schema      string      `json:"$schema"`
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"` // of this document
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

// metadata tells what the document is about.
type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"` // unique in the document
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Hashes     []hash     `json:"hashes,omitempty"`
	PURL       string     `json:"purl,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // in hex
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// billOf is the bill of a binary of that SHA-256. A binary does not know the
// version that the project gives it.
func billOf(version string, info *debug.BuildInfo, sum [32]byte) bill {
	command := component{
		Type:    "application",
		Ref:     info.Path,
		Name:    path.Base(info.Path),
		Version: version,
		Hashes:  []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
	}
	for _, setting := range info.Settings {
		command.Properties = append(command.Properties, property{"go:build:" + setting.Key, setting.Value})
	}
	components := []component{standardLibrary(info.GoVersion)}
	for _, module := range info.Deps {
		components = append(components, libraryOf(module))
	}
	return bill{
		Schema:      "http://cyclonedx.org/schema/bom-1.6.schema.json",
		Format:      "CycloneDX",
		SpecVersion: "1.6",
		Version:     1,
		Metadata:    metadata{command},
		Components:  components,
	}
}

// standardLibrary is Go's own part of the binary, under the name by which the
// Go vulnerability database knows it.
func standardLibrary(goVersion string) component {
	return library("stdlib", strings.TrimPrefix(goVersion, "go"))
}

// libraryOf is a module in the binary. Its checksum is the one of go.sum: a
// hash of its files' hashes, and so none of the algorithms of CycloneDX.
func libraryOf(module *debug.Module) component {
	if module.Replace != nil {
		module = module.Replace
	}
	c := library(module.Path, module.Version)
	if module.Sum != "" {
		c.Properties = []property{{"go:sum", module.Sum}}
	}
	return c
}

func library(name, version string) component {
	purl := packageURL(name, version)
	return component{Type: "library", Ref: purl, Name: name, Version: version, PURL: purl}
}

// packageURL names a module as the package URL specification has it for the
// type golang: in lower case
// (https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md).
func packageURL(name, version string) string {
	return "pkg:golang/" + strings.ToLower(name) + "@" + escaper.Replace(version)
}

// escaper escapes what a version may hold and a package URL may not: "+" stands
// before metadata, a space before the experiments that Go was built with.
var escaper = strings.NewReplacer("+", "%2B", " ", "%20")
