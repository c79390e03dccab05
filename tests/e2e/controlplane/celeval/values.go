package celeval

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"sort"
	"strconv"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/api/resource"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// tagged is the form of a value in which its type survives JSON: {"int": "1"}. Entries of maps are sorted.
func tagged(value ref.Val) (any, error) {
	one := func(tag string, payload any) (any, error) { return map[string]any{tag: payload}, nil }
	switch value := value.(type) {
	case types.Null:
		return one("null", nil)
	case types.Bool:
		return one("bool", bool(value))
	case types.Int:
		return one("int", strconv.FormatInt(int64(value), 10))
	case types.Uint:
		return one("uint", strconv.FormatUint(uint64(value), 10))
	case types.Double:
		return one("double", double(float64(value)))
	case types.String:
		return one("string", string(value))
	case types.Bytes:
		return one("bytes", hex.EncodeToString(value))
	case types.Timestamp:
		return one("timestamp", seconds(value.Unix(), int64(value.Nanosecond())))
	case types.Duration:
		return one("duration", seconds(int64(value.Duration)/1e9, int64(value.Duration)%1e9))
	case *types.Type:
		return one("type", value.TypeName())
	case *types.Optional:
		if !value.HasValue() {
			return one("optional", nil)
		}
		inner, err := tagged(value.GetValue())
		if err != nil {
			return nil, err
		}
		return one("optional", inner)
	case apiservercel.URL:
		return one("url", value.String())
	case apiservercel.IP:
		return one("ip", value.String())
	case apiservercel.CIDR:
		return one("cidr", value.String())
	case apiservercel.Semver:
		return one("semver", value.String())
	case apiservercel.Format:
		return one("format", value.Name)
	case *apiservercel.Format:
		return one("format", value.Name)
	case traits.Mapper:
		return taggedMap(value)
	case traits.Lister:
		return taggedList(value)
	}
	if quantity, ok := value.Value().(*resource.Quantity); ok {
		return one("quantity", quantity.String())
	}
	return one("opaque", value.Type().TypeName()) // such as the authorizer's
}

func taggedList(list traits.Lister) (any, error) {
	elements := []any{}
	for iterator := list.Iterator(); iterator.HasNext() == types.True; {
		element, err := tagged(iterator.Next())
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	return map[string]any{"list": elements}, nil
}

func taggedMap(entries traits.Mapper) (any, error) {
	pairs := [][2]any{}
	order := []string{}
	for iterator := entries.Iterator(); iterator.HasNext() == types.True; {
		name := iterator.Next()
		key, err := tagged(name)
		if err != nil {
			return nil, err
		}
		value, err := tagged(entries.Get(name))
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]any{key, value})
		order = append(order, string(text))
	}
	sort.Sort(&byKey{order, pairs})
	return map[string]any{"map": pairs}, nil
}

type byKey struct {
	order []string
	pairs [][2]any
}

func (b *byKey) Len() int           { return len(b.order) }
func (b *byKey) Less(i, j int) bool { return b.order[i] < b.order[j] }
func (b *byKey) Swap(i, j int) {
	b.order[i], b.order[j] = b.order[j], b.order[i]
	b.pairs[i], b.pairs[j] = b.pairs[j], b.pairs[i]
}

func seconds(whole, nanos int64) any {
	return map[string]any{"seconds": strconv.FormatInt(whole, 10), "nanos": nanos}
}

func double(value float64) string {
	switch {
	case math.IsNaN(value):
		return "NaN"
	case math.IsInf(value, 0):
		if value > 0 {
			return "Infinity"
		}
		return "-Infinity"
	case value == 0 && math.Signbit(value):
		return "-0.0"
	}
	return strconv.FormatFloat(value, 'g', -1, 64)
}
