#include "ops/norm.h"

#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        double eps) {
    const Tensor wide = x.to(sum_type(x));
    const Tensor inverse = wide.square().mean(-1, true).add_(eps).rsqrt_();  // [..., 1]
    context->save_for_backward({x, weight, inverse});
    return (wide * inverse).to(x.scalar_type()).mul_(weight.to(x.scalar_type()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &inverse = saved[2];
    const Tensor dy = gradients[0].to(inverse.scalar_type());
    const Tensor normed = x.to(inverse.scalar_type()) * inverse;
    Tensor dx, dweight;
    if (context->needs_input_grad(0)) {
      const Tensor dnormed = dy * weight.to(inverse.scalar_type());
      dx = (dnormed - normed * (dnormed * normed).mean(-1, true)).mul_(inverse).to(x.scalar_type());
    }
    if (context->needs_input_grad(1)) {
      dweight = (dy * normed).reshape({-1, x.size(-1)}).sum(0).to(weight.scalar_type());
    }
    return {dx, dweight, Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  check_shape("rms_norm: weight", weight, {x.size(-1)});
  return RmsNormFunction::apply(x, weight, eps);
}

}  // namespace hypenet
