package celeval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/warning"
	listersv1 "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	"k8s.io/kubernetes/pkg/apis/admissionregistration/validation"
)

// review answers a question with a policy: what the admission plugin does with the request, and, of the first binding
// that covers it, each expression's part.
func review(asked *question) (answer, error) {
	policy, err := policyOf(asked.Policy)
	if err != nil {
		return nil, err
	}
	hook := validating.PolicyHook{Policy: policy.spec, Evaluator: policy.evaluator, ParamScope: meta.RESTScopeNamespace}
	for _, raw := range asked.Bindings {
		binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
		if err := json.Unmarshal(raw, binding); err != nil {
			return nil, fmt.Errorf("binding: %w", err)
		}
		scheme.Default(binding)
		hook.Bindings = append(hook.Bindings, binding)
	}
	if policy.spec.Spec.ParamKind != nil {
		if hook.ParamInformer, err = paramsOf(asked.Params); err != nil {
			return nil, err
		}
	}
	attributes, kind, err := attributesOf(asked)
	if err != nil {
		return nil, err
	}
	namespaces, err := namespacesOf(asked.NamespaceObject)
	if err != nil {
		return nil, err
	}
	matcher := generic.NewPolicyMatcher(matching.NewMatcher(namespaces, nil))
	kinds := admission.NewObjectInterfacesFromScheme(scheme)
	kinds.GetEquivalentResourceMapper().(runtime.EquivalentResourceRegistry).RegisterKindFor(
		attributes.GetResource(), attributes.GetSubresource(), kind,
	)

	request := &recorded{Attributes: attributes, annotations: map[string]string{}}
	ctx := warning.WithWarningRecorder(context.Background(), request)
	denied := validating.NewDispatcher(allowed, matcher).Dispatch(ctx, request, kinds, []validating.PolicyHook{hook})
	found := answer{"allowed": denied == nil}
	if denied != nil {
		var status *apierrors.StatusError
		if !errors.As(denied, &status) {
			return nil, denied
		}
		found["status"] = map[string]any{
			"code": status.ErrStatus.Code, "reason": status.ErrStatus.Reason, "message": status.ErrStatus.Message,
		}
	}
	if len(request.warnings) > 0 {
		found["warnings"] = request.warnings
	}
	if len(request.annotations) > 0 {
		found["annotations"] = request.annotations
	}
	if len(policy.invalid) > 0 {
		found["invalid"] = policy.invalid
	}
	detail(found, hook, request, kinds, matcher)
	if asked.Show {
		if found["seen"], err = sent(attributes, kind); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// sent is the objects in the version of the request: defaulted, unknown fields dropped.
func sent(attributes admission.Attributes, kind schema.GroupVersionKind) (map[string]runtime.Object, error) {
	object, err := versioned(attributes.GetObject(), kind)
	if err != nil {
		return nil, err
	}
	old, err := versioned(attributes.GetOldObject(), kind)
	if err != nil {
		return nil, err
	}
	return map[string]runtime.Object{"object": object, "oldObject": old}, nil
}

// detail adds what each expression came to under one param: the first of the first binding that has any, else null.
func detail(
	found answer,
	hook validating.PolicyHook,
	request *recorded,
	kinds admission.ObjectInterfaces,
	matcher generic.PolicyMatcher,
) {
	definition := validating.NewValidatingAdmissionPolicyAccessor(hook.Policy)
	matched, resource, kind, err := matcher.DefinitionMatches(request, kinds, definition)
	if err != nil {
		return
	}
	if !matched {
		found["matched"] = false
		return
	}
	seen, err := admission.NewVersionedAttributes(request, kind, kinds)
	if err != nil {
		return
	}
	var namespace *corev1.Namespace
	if name := request.GetNamespace(); name != "" && (kind.Kind != "Namespace" || kind.Group != "") {
		if namespace, err = matcher.GetNamespace(context.Background(), name); err != nil {
			return
		}
	}
	result := hook.Evaluator.Validate(
		context.Background(), resource, seen, firstParam(hook, request, kinds, matcher), namespace,
		celconfig.RuntimeCELCostBudget, allowed,
	)
	if decisions := decisionsOf(result); len(decisions) > 0 {
		found["decisions"] = decisions
	}
	if annotations := annotationsOf(result); len(annotations) > 0 {
		found["auditAnnotations"] = annotations
	}
}

func firstParam(
	hook validating.PolicyHook, request *recorded, kinds admission.ObjectInterfaces, matcher generic.PolicyMatcher,
) runtime.Object {
	for _, binding := range hook.Bindings {
		accessor := validating.NewValidatingAdmissionPolicyBindingAccessor(binding)
		if covered, err := matcher.BindingMatches(request, kinds, accessor); err != nil || !covered {
			continue
		}
		params, err := generic.CollectParams(
			hook.Policy.Spec.ParamKind, hook.ParamInformer, hook.ParamScope, binding.Spec.ParamRef,
			request.GetNamespace(), nil, nil,
		)
		if err == nil && len(params) > 0 {
			return plain(params[0], hook.Policy.Spec.ParamKind)
		}
	}
	return nil
}

// plain is a param of an informer as the dispatcher shows it: with its kind, and as a map.
func plain(param runtime.Object, kind *admissionregistrationv1.ParamKind) runtime.Object {
	if param == nil {
		return nil
	}
	made, err := admission.ConvertObjectToUnstructured(param)
	if err != nil {
		return param
	}
	made.SetAPIVersion(kind.APIVersion)
	made.SetKind(kind.Kind)
	return made
}

func decisionsOf(result validating.ValidateResult) []map[string]any {
	var found []map[string]any
	for _, each := range result.Decisions {
		decision := map[string]any{"action": each.Action, "evaluation": each.Evaluation}
		if each.Message != "" {
			decision["message"] = each.Message
		}
		if each.Reason != "" {
			decision["reason"] = each.Reason
		}
		found = append(found, decision)
	}
	return found
}

func annotationsOf(result validating.ValidateResult) []map[string]any {
	var found []map[string]any
	for _, each := range result.AuditAnnotations {
		annotation := map[string]any{"key": each.Key, "action": each.Action}
		if each.Value != "" {
			annotation["value"] = each.Value
		}
		if each.Error != "" {
			annotation["error"] = each.Error
		}
		found = append(found, annotation)
	}
	return found
}

// recorded is a request that remembers what is said of it.
type recorded struct {
	admission.Attributes
	annotations map[string]string
	warnings    []string
}

func (r *recorded) AddAnnotation(key, value string) error {
	if err := r.Attributes.AddAnnotation(key, value); err != nil {
		return err
	}
	r.annotations[key] = value
	return nil
}

func (r *recorded) AddWarning(_, text string) {
	r.warnings = append(r.warnings, text)
}

type compiledPolicy struct {
	spec      *admissionregistrationv1.ValidatingAdmissionPolicy
	evaluator validating.Validator
	invalid   []string
}

var policies struct {
	sync.Mutex
	known map[string]*compiledPolicy
}

func policyOf(raw json.RawMessage) (*compiledPolicy, error) {
	policies.Lock()
	found := policies.known[string(raw)]
	policies.Unlock()
	if found != nil {
		return found, nil
	}
	spec := &admissionregistrationv1.ValidatingAdmissionPolicy{}
	if err := json.Unmarshal(raw, spec); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	scheme.Default(spec)
	internal := &admissionregistration.ValidatingAdmissionPolicy{}
	if err := scheme.Convert(spec, internal, nil); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	found = &compiledPolicy{spec: spec, evaluator: evaluatorOf(spec)}
	for _, each := range validation.ValidateValidatingAdmissionPolicy(internal) {
		found.invalid = append(found.invalid, each.Error())
	}
	policies.Lock()
	if len(policies.known) >= maxCompilers || policies.known == nil {
		policies.known = map[string]*compiledPolicy{}
	}
	policies.known[string(raw)] = found
	policies.Unlock()
	return found, nil
}

// evaluatorOf compiles as the plugin does: variables first, in order, in one environment with all that follows.
func evaluatorOf(policy *admissionregistrationv1.ValidatingAdmissionPolicy) validating.Validator {
	spec := policy.Spec
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return validating.NewValidator(nil, nil, nil, nil, spec.FailurePolicy, err)
	}
	declared := cel.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil, HasAuthorizer: true}
	for _, each := range spec.Variables {
		variable := &validating.Variable{Name: each.Name, Expression: each.Expression}
		compiler.CompileAndStoreVariable(variable, declared, environment.StoredExpressions)
	}
	compiled := func(accessors []cel.ExpressionAccessor, authorizer bool) cel.ConditionEvaluator {
		options := declared
		options.HasAuthorizer = authorizer
		return compiler.CompileCondition(accessors, options, environment.StoredExpressions)
	}
	var conditions, expressions, messages, annotations []cel.ExpressionAccessor
	for i := range spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&spec.MatchConditions[i]))
	}
	for _, each := range spec.Validations {
		expressions = append(expressions, &validating.ValidationCondition{
			Expression: each.Expression, Message: each.Message, Reason: each.Reason,
		})
		var message cel.ExpressionAccessor // nil keeps the place: messages run along the validations
		if each.MessageExpression != "" {
			message = &validating.MessageExpressionCondition{MessageExpression: each.MessageExpression}
		}
		messages = append(messages, message)
	}
	for _, each := range spec.AuditAnnotations {
		annotations = append(annotations, &validating.AuditAnnotationCondition{
			Key: each.Key, ValueExpression: each.ValueExpression,
		})
	}
	var matcher matchconditions.Matcher
	if len(conditions) > 0 {
		matcher = matchconditions.NewMatcher(
			compiled(conditions, true), spec.FailurePolicy, "policy", "validate", policy.Name,
		)
	}
	return validating.NewValidator(
		compiled(expressions, true), matcher, compiled(annotations, true), compiled(messages, false),
		spec.FailurePolicy, nil,
	)
}

// informer is an informer that has seen all there is.
type informer struct {
	cache.SharedIndexInformer
	store    cache.Indexer
	resource schema.GroupResource
}

func (i *informer) Informer() cache.SharedIndexInformer { return i }
func (i *informer) Lister() cache.GenericLister         { return cache.NewGenericLister(i.store, i.resource) }
func (i *informer) HasSynced() bool                     { return true }

func newStore() cache.Indexer {
	return cache.NewIndexer(
		cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
	)
}

// paramsOf is an informer of all params of the question. Like a real one, it holds built-in kinds without their kind.
func paramsOf(raw json.RawMessage) (*informer, error) {
	made := &informer{store: newStore()}
	var all []json.RawMessage
	if !absent(raw) {
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, fmt.Errorf("params: expected a list of objects: %w", err)
		}
	}
	for _, each := range all {
		internal, kind, err := stored(each, false)
		if err != nil {
			return nil, err
		}
		object, err := versioned(internal, kind)
		if err != nil {
			return nil, err
		}
		if _, custom := object.(*unstructured.Unstructured); !custom {
			object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		}
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		made.resource = plural.GroupResource()
		if err := made.store.Add(object); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// namespacesOf lists the one namespace of the question.
func namespacesOf(raw json.RawMessage) (listersv1.NamespaceLister, error) {
	store := newStore()
	namespace, err := namespaceOf(raw)
	if err != nil {
		return nil, err
	}
	if namespace == nil {
		namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	}
	if err := store.Add(namespace); err != nil {
		return nil, err
	}
	return listersv1.NewNamespaceLister(store), nil
}
