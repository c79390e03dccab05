package celeval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

type variable struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// anything is an expression of any type.
type anything string

func (e anything) GetExpression() string      { return string(e) }
func (e anything) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.AnyType} }

// allowed is the authorizer of every question.
var allowed = authorizer.AuthorizerFunc(
	func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionAllow, "", nil
	},
)

// evaluate answers a question with one expression, by the steps of a policy with this expression alone.
func evaluate(asked *question) (answer, error) {
	accessor, err := accessorOf(asked)
	if err != nil {
		return nil, err
	}
	mode := environment.StoredExpressions
	if asked.New {
		mode = environment.NewExpressions
	}
	declared := cel.OptionalVariableDeclarations{HasParams: asked.Params != nil, HasAuthorizer: true}
	compiler, err := compilerOf(asked, declared, mode)
	if err != nil {
		return nil, err
	}
	declared.HasAuthorizer = asked.Return != "string"
	compiled, complaints := compile(compiler, accessor, declared, mode)
	if complaints != nil {
		return answer{"compile_errors": complaints}, nil
	}

	attributes, kind, err := attributesOf(asked)
	if err != nil {
		return nil, err
	}
	seen, err := admission.NewVersionedAttributes(attributes, kind, admission.NewObjectInterfacesFromScheme(scheme))
	if err != nil {
		return nil, err
	}
	request, err := requestOf(asked, attributes)
	if err != nil {
		return nil, err
	}
	namespace, err := namespaceOf(asked.NamespaceObject)
	if err != nil {
		return nil, err
	}
	if asked.Return != "audit" {
		namespace = cel.CreateNamespaceObject(namespace)
	}
	bindings := cel.OptionalVariableBindings{}
	if declared.HasAuthorizer {
		bindings.Authorizer = allowed
	}
	if bindings.VersionedParams, err = param(asked.Params); err != nil {
		return nil, err
	}

	// The composited evaluator's own context cannot be had for a result that is compiled already; this is what it makes.
	ctx := compiler.CreateContext(context.Background())
	results, left, err := cel.NewCondition([]cel.CompilationResult{compiled}).ForInput(
		ctx, seen, request, bindings, namespace, math.MaxInt64,
	)
	if err != nil {
		return answer{"error": err.Error()}, nil
	}
	cost := math.MaxInt64 - left
	if failed := results[0].Error; failed != nil {
		wrapper := fmt.Sprintf("expression '%s' resulted in error: ", *asked.Expression)
		return answer{"error": strings.TrimPrefix(failed.Error(), wrapper), "cost": cost}, nil
	}
	value, err := tagged(results[0].EvalResult)
	if err != nil {
		return nil, err
	}
	return answer{"value": value, "cost": cost}, nil
}

func accessorOf(asked *question) (cel.ExpressionAccessor, error) {
	text := *asked.Expression
	switch asked.Return {
	case "", "any":
		return anything(text), nil
	case "bool":
		return &validating.ValidationCondition{Expression: text}, nil
	case "string":
		return &validating.MessageExpressionCondition{MessageExpression: text}, nil
	case "audit":
		return &validating.AuditAnnotationCondition{ValueExpression: text}, nil
	}
	return nil, fmt.Errorf("return: expected any, bool, string or audit, found %q", asked.Return)
}

// compilers by what they depend on: making one costs more than all the rest.
var compilers struct {
	sync.Mutex
	known map[string]*cel.CompositedCompiler
}

const maxCompilers = 256

func compilerOf(
	asked *question, declared cel.OptionalVariableDeclarations, mode environment.Type,
) (*cel.CompositedCompiler, error) {
	key, err := json.Marshal([]any{asked.Variables, declared.HasParams, mode, asked.Version})
	if err != nil {
		return nil, err
	}
	compilers.Lock()
	found := compilers.known[string(key)]
	compilers.Unlock()
	if found != nil {
		return found, nil
	}
	wanted := environment.DefaultCompatibilityVersion()
	if asked.Version != "" {
		if wanted, err = version.ParseGeneric(asked.Version); err != nil {
			return nil, fmt.Errorf("version: %w", err)
		}
	}
	found, err = cel.NewCompositedCompiler(environment.MustBaseEnvSet(wanted))
	if err != nil {
		return nil, err
	}
	for _, each := range asked.Variables {
		found.CompileAndStoreVariable(&validating.Variable{Name: each.Name, Expression: each.Expression}, declared, mode)
	}
	compilers.Lock()
	if len(compilers.known) >= maxCompilers || compilers.known == nil {
		compilers.known = map[string]*cel.CompositedCompiler{}
	}
	compilers.known[string(key)] = found
	compilers.Unlock()
	return found, nil
}

// compile gives what the server says of an expression that does not compile, as `LINE:COLUMN: text`, by position.
func compile(
	compiler *cel.CompositedCompiler,
	accessor cel.ExpressionAccessor,
	declared cel.OptionalVariableDeclarations,
	mode environment.Type,
) (compiled cel.CompilationResult, complaints []string) {
	defer func() {
		if reason := recover(); reason != nil {
			complaints = []string{fmt.Sprintf("panic: %v", reason)}
		}
	}()
	compiled = compiler.CompileCELExpression(accessor, declared, mode)
	if compiled.Error == nil {
		return compiled, nil
	}
	var positioned *apiservercel.CompilationError
	if !errors.As(compiled.Error, &positioned) {
		return compiled, []string{compiled.Error.Detail}
	}
	issues := positioned.Issues.Errors()
	sort.SliceStable(issues, func(i, j int) bool {
		a, b := issues[i].Location, issues[j].Location
		return a.Line() < b.Line() || a.Line() == b.Line() && a.Column() < b.Column()
	})
	for _, issue := range issues {
		complaints = append(
			complaints, fmt.Sprintf("%d:%d: %s", issue.Location.Line(), issue.Location.Column()+1, issue.Message),
		)
	}
	return compiled, complaints
}

// requestOf is the variable request, as asked or of the attributes.
func requestOf(asked *question, attributes admission.Attributes) (*admissionv1.AdmissionRequest, error) {
	if absent(asked.Request) {
		resource, kind := attributes.GetResource(), attributes.GetKind()
		return cel.CreateAdmissionRequest(attributes, metav1.GroupVersionResource(resource), metav1.GroupVersionKind(kind)), nil
	}
	request := &admissionv1.AdmissionRequest{}
	if err := json.Unmarshal(asked.Request, request); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	options, err := optionsFrom(request.Options.Raw)
	if err != nil {
		return nil, fmt.Errorf("request.options: %w", err)
	}
	request.Options.Raw, request.Options.Object = nil, options
	return request, nil
}
