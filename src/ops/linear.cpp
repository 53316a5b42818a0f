#include "ops/linear.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Below this, libtorch's matrix-vector products win over oneDNN's set-up.
constexpr int64_t kFewestRows = 16;

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
      dweight = product(dy.t(), x.reshape({-1, weight.size(1)}).t());
    }
    return {dx, dweight};
  }
};

}  // namespace

Tensor product(const Tensor& a, const Tensor& b) {
  if (!suits_onednn(a)) return torch::mm(a, b.t());
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return onednn_linear()->call(a, b, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(),
                               std::nullopt);
}

Tensor apply_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  HYPENET_CHECK(weight.dim() == 2 && x.size(-1) == weight.size(1), "linear: expected x [..., ",
                weight.size(1), "] for a weight of shape ", weight.sizes(), ", found ", x.sizes());
  check_alike("linear: x", x, weight);
  const Tensor y = LinearFunction::apply(x, weight);
  return bias.defined() ? y + bias : y;
}

}  // namespace hypenet
