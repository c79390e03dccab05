package celeval

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

var scheme = legacyscheme.Scheme

// asker is whom requests come from that do not say it.
var asker = &user.DefaultInfo{Name: "alice", Groups: []string{"dev", "system:authenticated"}}

func absent(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// stored is an object as the server has it at admission: defaulted and of the internal version if its kind is built in,
// else (or when untyped is set) a plain map in which integers stay integers.
func stored(raw json.RawMessage, untyped bool) (runtime.Object, schema.GroupVersionKind, error) {
	none := schema.GroupVersionKind{}
	if absent(raw) {
		return nil, none, nil
	}
	var fields map[string]any
	if err := utiljson.Unmarshal(raw, &fields); err != nil {
		return nil, none, fmt.Errorf("object: %w", err)
	}
	plain := &unstructured.Unstructured{Object: fields}
	kind := plain.GroupVersionKind()
	if untyped || kind.Kind == "" || !scheme.Recognizes(kind) {
		return plain, kind, nil
	}
	internal, _, err := legacyscheme.Codecs.UniversalDecoder().Decode(raw, &kind, nil)
	if err != nil {
		return nil, none, fmt.Errorf("object: %w", err)
	}
	return internal, kind, nil
}

// versioned is a stored object in the version in which expressions see it.
func versioned(object runtime.Object, kind schema.GroupVersionKind) (runtime.Object, error) {
	if object == nil {
		return nil, nil
	}
	if _, plain := object.(*unstructured.Unstructured); plain {
		return object, nil
	}
	made, err := scheme.ConvertToVersion(object, kind.GroupVersion())
	if err != nil {
		return nil, err
	}
	made.GetObjectKind().SetGroupVersionKind(kind)
	return made, nil
}

// param is an object as expressions see params: a map with apiVersion and kind, also of a built-in kind.
func param(raw json.RawMessage) (runtime.Object, error) {
	internal, kind, err := stored(raw, false)
	if internal == nil || err != nil {
		return nil, err
	}
	object, err := versioned(internal, kind)
	if err != nil {
		return nil, err
	}
	return admission.ConvertObjectToUnstructured(object)
}

func namespaceOf(raw json.RawMessage) (*corev1.Namespace, error) {
	if absent(raw) {
		return nil, nil
	}
	namespace := &corev1.Namespace{}
	if err := json.Unmarshal(raw, namespace); err != nil {
		return nil, fmt.Errorf("namespaceObject: %w", err)
	}
	scheme.Default(namespace)
	return namespace, nil
}

// attributesOf is the request that writes object over oldObject: CREATE without the latter, DELETE without the former.
func attributesOf(asked *question) (admission.Attributes, schema.GroupVersionKind, error) {
	object, kind, err := stored(asked.Object, asked.Untyped)
	if err != nil {
		return nil, kind, err
	}
	old, oldKind, err := stored(asked.OldObject, asked.Untyped)
	if err != nil {
		return nil, kind, err
	}
	var operation admission.Operation
	var options runtime.Object
	described := object
	switch {
	case object == nil && old != nil:
		described, kind = old, oldKind
		operation, options = admission.Delete, &metav1.DeleteOptions{TypeMeta: optionsMeta("DeleteOptions")}
	case old != nil:
		operation, options = admission.Update, &metav1.UpdateOptions{TypeMeta: optionsMeta("UpdateOptions")}
	default:
		operation, options = admission.Create, &metav1.CreateOptions{TypeMeta: optionsMeta("CreateOptions")}
	}
	var name, namespace string
	if described != nil {
		if accessor, err := meta.Accessor(described); err == nil {
			name, namespace = accessor.GetName(), accessor.GetNamespace()
		}
	}
	if kind.Kind == "Namespace" && kind.Group == "" {
		namespace = name
	}
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	who := asker
	if asked.UserInfo != nil {
		who = asked.UserInfo
	}
	return admission.NewAttributesRecord(
		object, old, kind, namespace, name, plural, asked.Subresource, operation, options, false, who,
	), kind, nil
}

func optionsMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: kind}
}

// optionsFrom is request.options as the server holds it, so that absent fields are absent.
func optionsFrom(raw []byte) (runtime.Object, error) {
	if absent(raw) {
		return nil, nil
	}
	var head metav1.TypeMeta
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, err
	}
	var options runtime.Object
	switch {
	case strings.HasPrefix(head.Kind, "Create"):
		options = &metav1.CreateOptions{}
	case strings.HasPrefix(head.Kind, "Update"):
		options = &metav1.UpdateOptions{}
	case strings.HasPrefix(head.Kind, "Patch"):
		options = &metav1.PatchOptions{}
	case strings.HasPrefix(head.Kind, "Delete"):
		options = &metav1.DeleteOptions{}
	default:
		var fields map[string]any
		if err := utiljson.Unmarshal(raw, &fields); err != nil {
			return nil, err
		}
		return &unstructured.Unstructured{Object: fields}, nil
	}
	return options, json.Unmarshal(raw, options)
}
