// oneDNN's product is found by name; its gradients are products too.
#include "ops/linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>

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

/// dy^T x, the gradient of a weight, [out, in]. oneDNN wants its left factor contiguous, so the
/// narrower of the two is the one that is copied.
Tensor weight_gradient(const Tensor& dy, const Tensor& x) {
  return dy.size(1) <= x.size(1) ? product(dy.t(), x.t()) : product(x.t(), dy.t()).t();
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight) {
    context->save_for_backward({x, weight});
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = weight.size(0);
    return product(x.reshape({-1, weight.size(1)}), weight).view(shape);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    const Tensor dy = gradients[0].reshape({-1, weight.size(0)});
    Tensor dx, dweight;
    if (context->needs_input_grad(0)) dx = product(dy, weight.t()).view(x.sizes());
    if (context->needs_input_grad(1)) {
      dweight = weight_gradient(dy, x.reshape({-1, weight.size(1)}));
    }
    return {dx, dweight};
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

Tensor apply_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  HYPENET_CHECK(weight.dim() == 2 && x.size(-1) == weight.size(1), "linear: expected x [..., ",
                weight.size(1), "] for a weight of shape ", weight.sizes(), ", found ", x.sizes());
  check_alike("linear: x", x, weight);
  const Tensor y = LinearFunction::apply(x, weight);
  return bias.defined() ? y + bias : y;
}

}  // namespace hypenet
