package expect

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tcpstates/internal/event"
)

// maxFile bounds a file of rules in bytes.
const maxFile = 1 << 20

// ReadFile reads a file of rules:
//
//	rules:
//	  - name: the database is near
//	    description: it is in the same zone
//	    expect: p99(conns, "connect_ms") < 20
//
// A name and a description may be missing. An error is a sentence with the line of what
// is wrong, and so is one of Compile.
func ReadFile(r io.Reader) ([]*Rule, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is longer than the %d bytes that a file of rules may have", maxFile)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it has no rules: " + wanted)
	case err != nil:
		return nil, syntax(err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one document: all rules stand in one list")
	}
	return rulesOf(document.Content[0])
}

// wanted says what a file must have.
const wanted = `it begins with "rules:", and "- expect: EXPRESSION" stands below for each`

// syntax makes a sentence of an error of the YAML parser, which has a line in it as a rule.
func syntax(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if line, rest, found := strings.Cut(text, ": "); found && strings.HasPrefix(line, "line ") {
		return fmt.Errorf("%s: it is no YAML: %s", line, event.AppendText(nil, rest))
	}
	return fmt.Errorf("it is no YAML: %s", event.AppendText(nil, text))
}

// rulesOf reads the whole.
func rulesOf(top *yaml.Node) ([]*Rule, error) {
	keys, err := mapping(top, "the file", "rules")
	if err != nil {
		return nil, err
	}
	list := keys["rules"]
	switch {
	case list == nil:
		return nil, errors.New("it has no rules: " + wanted)
	case list.Kind != yaml.SequenceNode || len(list.Content) == 0:
		return nil, at(list, `"rules" has no list: "- expect: EXPRESSION" stands below it for each`)
	}
	var rules []*Rule
	for _, node := range list.Content {
		rule, err := ruleOf(node)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// ruleOf reads a rule.
func ruleOf(node *yaml.Node) (*Rule, error) {
	keys, err := mapping(node, "a rule", "name", "description", "expect")
	if err != nil {
		return nil, err
	}
	if keys["expect"] == nil {
		return nil, at(node, `the rule expects nothing: it needs "expect: EXPRESSION"`)
	}
	texts := map[string]string{}
	for key, value := range keys {
		// true is an expression, too, but a list, or nothing, is no text.
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			return nil, at(value, "%q has no text", key)
		}
		texts[key] = value.Value
	}
	rule, err := Compile(texts["name"], texts["description"], texts["expect"])
	if err != nil {
		return nil, at(keys["expect"], "%w", err)
	}
	return rule, nil
}

// mapping gives the values of a mapping by their keys. Others than these are errors, and
// so is one that is there twice.
func mapping(node *yaml.Node, what string, known ...string) (map[string]*yaml.Node, error) {
	if node.Kind != yaml.MappingNode {
		return nil, at(node, "%s has no keys: they are %s", what, strings.Join(known, ", "))
	}
	values := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			return nil, at(key, "%s is no key of %s: they are %s", strconv.Quote(key.Value), what, strings.Join(known, ", "))
		case values[key.Value] != nil:
			return nil, at(key, "%s is there twice", strconv.Quote(key.Value))
		}
		values[key.Value] = node.Content[i+1]
	}
	return values, nil
}

// at says in which line something is wrong.
func at(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{node.Line}, args...)...)
}
