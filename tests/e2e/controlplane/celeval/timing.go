package celeval

import (
	"context"
	"fmt"
	"runtime/debug"
	"syscall"
	"time"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// maxRepeat keeps a question from holding the process for ever.
const maxRepeat = 1_000_000

// spent is the CPU time of the whole process, garbage collection on other threads included.
func spent() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// timed answers a question with the expressions of one policy: what they come to, what CPU the engine takes for all of
// them with the server's limits in force, and what for making the object that it evaluates out of its JSON.
func timed(asked *question) (answer, error) {
	if asked.Repeat < 1 || asked.Repeat > maxRepeat {
		return nil, fmt.Errorf("repeat: expected 1 to %d, found %d", maxRepeat, asked.Repeat)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as the API server runs

	declared := cel.OptionalVariableDeclarations{HasAuthorizer: true}
	compiler, err := compilerOf(asked, declared, environment.StoredExpressions)
	if err != nil {
		return nil, err
	}
	compiled := make([]cel.CompilationResult, 0, len(asked.Expressions))
	for _, text := range asked.Expressions {
		one, complaints := compile(
			compiler, &validating.ValidationCondition{Expression: text}, declared, environment.StoredExpressions,
		)
		if complaints != nil {
			return answer{"compile_errors": complaints, "expression": text}, nil
		}
		compiled = append(compiled, one)
	}

	var seen *admission.VersionedAttributes
	began := spent()
	for range asked.Repeat {
		attributes, kind, err := attributesOf(asked)
		if err != nil {
			return nil, err
		}
		if seen, err = admission.NewVersionedAttributes(
			attributes, kind, admission.NewObjectInterfacesFromScheme(scheme),
		); err != nil {
			return nil, err
		}
	}
	decoding := spent() - began
	request, err := requestOf(asked, seen.Attributes)
	if err != nil {
		return nil, err
	}

	condition := cel.NewCondition(compiled)
	bindings := cel.OptionalVariableBindings{Authorizer: allowed}
	ctx := compiler.CreateContext(context.Background())
	var results []cel.EvaluationResult
	left := int64(celconfig.RuntimeCELCostBudget)
	began = spent()
	for range asked.Repeat {
		results, left, err = condition.ForInput(ctx, seen, request, bindings, nil, celconfig.RuntimeCELCostBudget)
		if err != nil {
			return answer{"error": err.Error()}, nil
		}
	}
	evaluating := spent() - began

	values := make([]any, 0, len(results))
	for _, each := range results {
		if each.Error != nil {
			values = append(values, each.Error.Error())
			continue
		}
		values = append(values, each.EvalResult.Value())
	}
	return answer{
		"values":               values,
		"cost":                 int64(celconfig.RuntimeCELCostBudget) - left,
		"nanoseconds":          evaluating.Nanoseconds() / int64(asked.Repeat),
		"decoding_nanoseconds": decoding.Nanoseconds() / int64(asked.Repeat),
	}, nil
}
