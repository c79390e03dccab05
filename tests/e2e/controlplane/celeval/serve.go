// Package celeval answers CEL expressions and whole ValidatingAdmissionPolicies with the API server's own code.
//
// JSON Lines in, JSON Lines out, an answer a question and in order. What a question with "expression" holds:
//
//	expression, variables [{name, expression}], return (bool, string, audit, any)
//	object, oldObject, params, namespaceObject    absent or null: CEL null; without params it is undeclared
//	request                                       the variable; absent: made from the object, by user alice
//	untyped                                       true: known kinds as plain maps too, as servers before 1.37 have them
//	version (1.34 …), new                         the environment; default: what the server evaluates stored policies with
//
// → {"id", "value" | "error" | "compile_errors", "cost"}. With "expressions", those of one policy, on the same inputs:
//
//	expressions [text], repeat                    how often all of them are evaluated, and the object is decoded
//
// → {"id", "values", "cost", "nanoseconds", "decoding_nanoseconds"}, a time each for once. And with "policy":
//
//	policy, bindings, object, oldObject, params [object], namespaceObject, subresource
//	userInfo {name, groups}                       who asks; default: alice
//	show                                          true: also the objects as a webhook would be sent them
//
// → {"id", "allowed", "status", "warnings", "annotations", "decisions", "auditAnnotations", "matched", "invalid"},
// and {"seen": {"object", "oldObject"}} if they are to be shown.
//
// A question that cannot be understood is answered by {"id", "bad"}, a panic of the engine by {"id", "panic"}; a panic of
// its type checker is a compile error, since nobody can create such a policy.
package celeval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"k8s.io/apiserver/pkg/authentication/user"
)

// question is one line of input.
type question struct {
	ID json.RawMessage `json:"id"`

	Object          json.RawMessage `json:"object"`
	OldObject       json.RawMessage `json:"oldObject"`
	Params          json.RawMessage `json:"params"`
	NamespaceObject json.RawMessage `json:"namespaceObject"`

	Expression *string         `json:"expression"`
	Variables  []variable      `json:"variables"`
	Return     string          `json:"return"`
	Request    json.RawMessage `json:"request"`
	Untyped    bool            `json:"untyped"`
	Version    string          `json:"version"`
	New        bool            `json:"new"`

	Expressions []string `json:"expressions"`
	Repeat      int      `json:"repeat"`

	Policy      json.RawMessage   `json:"policy"`
	Bindings    []json.RawMessage `json:"bindings"`
	Subresource string            `json:"subresource"`
	UserInfo    *user.DefaultInfo `json:"userInfo"`
	Show        bool              `json:"show"`
}

type answer map[string]any

// Run answers standard input until it ends; the exit code.
func Run() int {
	debug.SetGCPercent(400) // the heap is small, and compiling makes much garbage
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "celeval:", err)
		return 1
	}
	return 0
}

// serve answers on all processors and writes the answers in the order of the questions. It flushes whenever nothing is
// being worked on, so that a caller may wait for an answer before asking again.
func serve(in io.Reader, out io.Writer) error {
	pending := make(chan chan []byte, 64)
	idle := make(chan struct{}, runtime.GOMAXPROCS(0))
	failed := make(chan error, 1)
	go func() {
		defer close(pending)
		lines := bufio.NewReaderSize(in, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if len(bytes.TrimSpace(line)) > 0 {
				result := make(chan []byte, 1)
				pending <- result
				idle <- struct{}{}
				go func() {
					result <- respond(line)
					<-idle
				}()
			}
			if err != nil {
				if err != io.EOF {
					failed <- err
				}
				return
			}
		}
	}()
	writer := bufio.NewWriterSize(out, 1<<16)
	for result := range pending {
		if _, err := writer.Write(<-result); err != nil {
			return err
		}
		if len(pending) == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func respond(line []byte) []byte {
	var asked question
	found := answer{"bad": "the line is not a JSON object of a known form"}
	if err := json.Unmarshal(line, &asked); err != nil {
		found = answer{"bad": err.Error()}
	} else {
		found = answered(&asked)
	}
	if len(asked.ID) > 0 {
		found["id"] = asked.ID
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(found); err != nil {
		panic(err)
	}
	return text.Bytes()
}

func answered(asked *question) (found answer) {
	defer func() {
		if reason := recover(); reason != nil {
			found = answer{"panic": fmt.Sprint(reason)}
		}
	}()
	var err error
	switch {
	case asked.Expression != nil:
		found, err = evaluate(asked)
	case len(asked.Expressions) > 0:
		found, err = timed(asked)
	case len(asked.Policy) > 0:
		found, err = review(asked)
	default:
		err = fmt.Errorf("expected a question with expression, expressions or policy")
	}
	if err != nil {
		return answer{"bad": err.Error()}
	}
	return found
}
