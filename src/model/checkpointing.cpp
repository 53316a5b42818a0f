// A node of autograd that holds the block and its input; its backward runs a backward of its own.
#include "model/checkpointing.h"

#include <torch/autograd.h>

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What autograd's context can hold of a function.
struct HeldBlock : torch::CustomClassHolder {
  explicit HeldBlock(std::function<Tensor(const Tensor&)> run) : run(std::move(run)) {}
  std::function<Tensor(const Tensor&)> run;
};

struct Checkpointed : torch::autograd::Function<Checkpointed> {
  static Tensor forward(AutogradContext* context, const Tensor& x,
                        const c10::intrusive_ptr<HeldBlock>& block) {
    context->save_for_backward({x});
    context->saved_data["block"] = c10::IValue::make_capsule(block);
    return block->run(x);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto block =
        c10::static_intrusive_pointer_cast<HeldBlock>(context->saved_data["block"].toCapsule());
    const Tensor x = context->get_saved_variables()[0].detach().requires_grad_();
    Tensor y;
    {
      const c10::AutoGradMode recording(true);
      y = block->run(x);
    }
    torch::autograd::backward({y}, {gradients[0]});
    return {x.grad(), Tensor()};
  }
};

}  // namespace

Tensor checkpointed(const Tensor& x, std::function<Tensor(const Tensor&)> block) {
  if (!torch::GradMode::is_enabled()) return block(x);
  // Without an input that needs a gradient autograd would not come back for the parameters'.
  const Tensor input = x.requires_grad() ? x : x.detach().requires_grad_();
  return Checkpointed::apply(input, c10::make_intrusive<HeldBlock>(std::move(block)));
}

}  // namespace hypenet
