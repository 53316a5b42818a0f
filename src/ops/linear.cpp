// oneDNN's product is found by name; its gradients are products too.
#include "ops/linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/autograd.h>

#include <algorithm>
#include <numeric>

#include "kernels/transpose.h"
#include "ops/linear_step.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Below this, libtorch's matrix-vector products win over oneDNN's set-up.
constexpr int64_t kFewestRows = 16;
constexpr int64_t kGrain = 32768;  // elements a task

using OneDnnLinear = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&,
                            c10::string_view, c10::List<std::optional<at::Scalar>>,
                            std::optional<c10::string_view>);

/// libtorch has oneDNN's product of plain tensors only as an operator without a C++ name, and not
/// on every machine.
const std::optional<c10::TypedOperatorHandle<OneDnnLinear>>& onednn_linear() {
  static const auto found = []() -> std::optional<c10::TypedOperatorHandle<OneDnnLinear>> {
    const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!schema) return std::nullopt;
    return schema->typed<OneDnnLinear>();
  }();
  return found;
}

bool suits_onednn(const Tensor& a) {
  return a.is_cpu() && a.scalar_type() == torch::kFloat32 && a.size(0) >= kFewestRows &&
         a.numel() > 0 && onednn_linear();
}

/// A contiguous copy of a matrix whose transpose is contiguous; libtorch's own takes four times as
/// long.
Tensor transposed_copy(const Tensor& a) {
  const int64_t rows = a.size(1), columns = a.size(0);
  const Tensor out = torch::empty({columns, rows}, a.options());
  const float* const from = a.const_data_ptr<float>();
  float* const to = out.data_ptr<float>();
  at::parallel_for(0, columns, kGrain / rows + 1, [&](int64_t begin, int64_t end) {
    kernels::transpose(from, rows, columns, to, begin, end);
  });
  return out;
}

/// As oneDNN takes it. Rows that lie apart, as those of a part of a wider tensor, go through its
/// reference code otherwise, number by number.
Tensor left_factor(const Tensor& a) {
  const bool is_transposed = !a.is_contiguous() && a.t().is_contiguous();
  return is_transposed ? transposed_copy(a) : a.contiguous();
}

/// The same, of a factor that may lie transposed.
Tensor right_factor(const Tensor& b) { return b.t().is_contiguous() ? b : b.contiguous(); }

/// x W^T + b without autograd; all of one type.
Tensor affine(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  const Tensor rows = x.reshape({-1, weight.size(1)});
  if (!bias.defined()) return product(rows, weight).view(shape);
  // On a GPU the product's last step adds the bias.
  if (x.is_cuda()) return torch::addmm(bias, rows, weight.t()).view(shape);
  return product(rows, weight).view(shape) + bias;
}

/// Whether dy^T x may be summed and stored in float32 while its factors are bfloat16.
bool widens(const Tensor& dy, torch::ScalarType type) {
  return dy.is_cuda() && dy.scalar_type() == torch::kBFloat16 && type == torch::kFloat32;
}

/// dy^T x, the gradient of a weight, [out, in], as `type`. oneDNN wants its left factor contiguous,
/// so the narrower of the two is the one that is copied.
Tensor weight_gradient(const Tensor& dy, const Tensor& x, torch::ScalarType type) {
  if (widens(dy, type)) return at::mm(dy.t(), x, torch::kFloat32);
  return (dy.size(1) <= x.size(1) ? product(dy.t(), x.t()) : product(x.t(), dy.t()).t()).to(type);
}

/// The sum of dy [..., out] over all but its last dimension, as `type`.
Tensor bias_gradient(const Tensor& dy, torch::ScalarType type) {
  if (dy.dim() == 1) return dy.to(type);
  std::vector<int64_t> leading(static_cast<size_t>(dy.dim() - 1));
  std::iota(leading.begin(), leading.end(), 0);
  return dy.sum(leading, /*keepdim=*/false, sum_type(dy)).to(type);
}

/// What the products read: parameters or their copies in the input's type; bias may be undefined.
struct Factors {
  Tensor weight, bias;
};

/// Whether the gradient of y = x W^T + b is of use to anyone.
bool is_recorded(const Tensor& x, const LinearWeights& layer) {
  return x.requires_grad() || layer.weight.master.requires_grad() ||
         (layer.bias.defined() && layer.bias.master.requires_grad());
}

/// dx += dy W in dx's memory, or dx = dy W when it is undefined.
void add_input_gradient(Tensor& dx, const Tensor& dy, const Tensor& weight) {
  if (!dx.defined()) {
    dx = product(dy, weight.t());
  } else if (dx.is_cuda()) {
    at::addmm_out(dx, dx, dy, weight);
  } else {
    dx += product(dy, weight.t());
  }
}

/// Autograd sees x, then `parameters`: all weights, then the biases that exist.
struct LinearsFunction : torch::autograd::Function<LinearsFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& x,
                               at::TensorList /*parameters*/, std::span<const LinearWeights> layers,
                               const std::vector<Factors>& factors) {
    variable_list outputs, unused, saved = {Tensor()};
    std::vector<int64_t> types, bias_inputs;  // bias_inputs: 0 where there is none
    auto next_input = static_cast<int64_t>(layers.size());
    for (size_t i = 0; i < layers.size(); ++i) {
      // Each gradient needs the other factor alone.
      if (layers[i].weight.master.requires_grad()) saved[0] = x;
      saved.push_back(x.requires_grad() ? factors[i].weight : Tensor());
      types.push_back(static_cast<int64_t>(layers[i].weight.master.scalar_type()));
      bias_inputs.push_back(layers[i].bias.defined() ? ++next_input : 0);
      outputs.push_back(affine(x, factors[i].weight, factors[i].bias));
      if (!is_recorded(x, layers[i])) unused.push_back(outputs.back());
    }
    context->save_for_backward(saved);
    context->saved_data["types"] = types;
    context->saved_data["bias_inputs"] = bias_inputs;
    context->mark_non_differentiable(unused);
    context->set_materialize_grads(false);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const std::vector<int64_t> types = context->saved_data["types"].toIntVector();
    const std::vector<int64_t> bias_inputs = context->saved_data["bias_inputs"].toIntVector();
    const Tensor& x = saved[0];
    Tensor dx;                                        // [rows, in]
    std::vector<int64_t> shape;                       // of x
    variable_list results(2 * gradients.size() + 3);  // x, parameters, and two that are no tensors
    for (size_t i = 0; i < gradients.size(); ++i) {
      const Tensor& given = gradients[i];
      if (!given.defined()) continue;
      const auto type = static_cast<torch::ScalarType>(types[i]);
      const auto bias_input = static_cast<size_t>(bias_inputs[i]);
      const Tensor dy = given.reshape({-1, given.size(-1)});
      if (context->needs_input_grad(0)) {
        add_input_gradient(dx, dy, saved[i + 1]);
        shape = given.sizes().vec();
      }
      if (context->needs_input_grad(i + 1)) {
        results[i + 1] = weight_gradient(dy, x.reshape({-1, x.size(-1)}), type);
      }
      if (bias_input > 0 && context->needs_input_grad(bias_input)) {
        results[bias_input] = bias_gradient(given, type);
      }
    }
    if (!dx.defined()) return results;
    shape.back() = dx.size(1);
    results[0] = dx.view(shape);
    return results;
  }
};

void check_linear(const Tensor& x, const Tensor& weight) {
  HYPENET_CHECK(weight.dim() == 2 && x.size(-1) == weight.size(1), "linear: expected x [..., ",
                weight.size(1), "] for a weight of shape ", weight.sizes(), ", found ", x.sizes());
  HYPENET_CHECK(x.device() == weight.device(), "linear: x: expected device ", weight.device(),
                ", found ", x.device());
}

/// By the kernels of a step, which read packed weights as they are.
std::vector<Tensor> apply_packed(const Tensor& x, std::span<const LinearWeights> layers) {
  HYPENET_CHECK(!x.requires_grad() || !torch::GradMode::is_enabled(),
                "linear: packed weights: expected x without a gradient, found one");
  for (const LinearWeights& layer : layers) check_linear(x, layer.weight.master);
  std::vector<Tensor> outputs =
      linear_step({.x = x.reshape({-1, x.size(-1)}).detach(), .layers = layers});
  for (Tensor& output : outputs) {
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = output.size(1);
    output = output.view(shape);
  }
  return outputs;
}

}  // namespace

Tensor product(const Tensor& a, const Tensor& b) {
  if (!suits_onednn(a)) return torch::mm(a, b.t());
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return onednn_linear()->call(left_factor(a), right_factor(b), std::nullopt, "none",
                               c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

std::vector<Tensor> apply_linears(const Tensor& x, std::span<const LinearWeights> layers) {
  const auto is_packed = [](const LinearWeights& layer) { return layer.weight.packed != nullptr; };
  if (std::ranges::any_of(layers, is_packed)) return apply_packed(x, layers);
  std::vector<Factors> factors;
  bool recorded = false;
  for (const LinearWeights& layer : layers) {
    check_linear(x, layer.weight.master);
    factors.push_back({layer.weight.in_type(x.scalar_type()), layer.bias.in_type(x.scalar_type())});
    recorded = recorded || is_recorded(x, layer);
  }
  std::vector<Tensor> outputs;
  if (!recorded || !torch::GradMode::is_enabled()) {
    for (const Factors& factor : factors) outputs.push_back(affine(x, factor.weight, factor.bias));
    return outputs;
  }
  std::vector<Tensor> parameters;
  for (const LinearWeights& layer : layers) parameters.push_back(layer.weight.master);
  for (const LinearWeights& layer : layers) {
    if (layer.bias.defined()) parameters.push_back(layer.bias.master);
  }
  return LinearsFunction::apply(x, at::TensorList(parameters), layers, factors);
}

Tensor apply_linear(const Tensor& x, const LinearWeights& layer) {
  return apply_linears(x, {&layer, 1}).front();
}

void add_weight_gradient(const Weight& weight, const Tensor& dy, const Tensor& x) {
  Tensor& gradient = weight.master.mutable_grad();
  const auto type = weight.master.scalar_type();
  if (!gradient.defined()) {
    gradient = weight_gradient(dy, x, type).contiguous();
  } else if (widens(dy, gradient.scalar_type())) {
    at::addmm_out(gradient, gradient, dy.t(), x, torch::kFloat32);
  } else {
    gradient += weight_gradient(dy, x, type);
  }
}

}  // namespace hypenet
