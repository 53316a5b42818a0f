// oneDNN's product is found by name; its gradients are products too.
#include "ops/linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <numeric>

#include "kernels/transpose.h"
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

/// What a product reads in place of a parameter: its copy, else a cast, which may be itself.
Tensor in_type(const Tensor& parameter, const Tensor& copy, torch::ScalarType type) {
  if (!parameter.defined()) return parameter;
  return copy.defined() && copy.scalar_type() == type ? copy : parameter.detach().to(type);
}

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

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias, const Factors& factors) {
    // Each gradient needs the other factor alone.
    context->save_for_backward(
        {weight.requires_grad() ? x : Tensor(), x.requires_grad() ? factors.weight : Tensor()});
    context->saved_data["type"] = static_cast<int64_t>(weight.scalar_type());
    context->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    return affine(x, factors.weight, factors.bias);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &given = gradients[0];
    const auto type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
    const Tensor dy = given.reshape({-1, given.size(-1)});
    Tensor dx, dweight, dbias;
    if (context->needs_input_grad(0)) {
      std::vector<int64_t> shape = given.sizes().vec();
      shape.back() = weight.size(1);
      dx = product(dy, weight.t()).view(shape);
    }
    if (context->needs_input_grad(1)) {
      dweight = weight_gradient(dy, x.reshape({-1, x.size(-1)}), type);
    }
    if (context->saved_data["bias"].toBool()) dbias = bias_gradient(given, type);
    return {dx, dweight, dbias, Tensor()};
  }
};

}  // namespace

Tensor product(const Tensor& a, const Tensor& b) {
  if (!suits_onednn(a)) return torch::mm(a, b.t());
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const bool is_transposed = !a.is_contiguous() && a.t().is_contiguous();
  return onednn_linear()->call(is_transposed ? transposed_copy(a) : a, b, std::nullopt, "none",
                               c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

Tensor apply_linear(const Tensor& x, const Tensor& weight, const Tensor& bias,
                    const Tensor& compute_weight, const Tensor& compute_bias) {
  HYPENET_CHECK(weight.dim() == 2 && x.size(-1) == weight.size(1), "linear: expected x [..., ",
                weight.size(1), "] for a weight of shape ", weight.sizes(), ", found ", x.sizes());
  HYPENET_CHECK(x.device() == weight.device(), "linear: x: expected device ", weight.device(),
                ", found ", x.device());
  const torch::ScalarType type = x.scalar_type();
  const Factors factors{in_type(weight, compute_weight, type), in_type(bias, compute_bias, type)};
  const bool is_recorded =
      torch::GradMode::is_enabled() &&
      (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad()));
  if (!is_recorded) return affine(x, factors.weight, factors.bias);
  const std::optional<Tensor> recorded_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return LinearFunction::apply(x, weight, recorded_bias, factors);
}

Tensor Head::in_type(torch::ScalarType type) const {
  return hypenet::in_type(weight, compute_weight, type);
}

void Head::add_gradient(const Tensor& dz, const Tensor& hidden) const {
  Tensor& gradient = weight.mutable_grad();
  if (!gradient.defined()) {
    gradient = weight_gradient(dz, hidden, weight.scalar_type()).contiguous();
  } else if (widens(dz, gradient.scalar_type())) {
    at::addmm_out(gradient, gradient, dz.t(), hidden, torch::kFloat32);
  } else {
    gradient += weight_gradient(dz, hidden, weight.scalar_type());
  }
}

}  // namespace hypenet
