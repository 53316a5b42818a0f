// Distillation: two forwards, one piecewise loss.
#include "halo/distill.h"

#include "train/cross_entropy.h"
#include "train/losses.h"

namespace hypenet {

DistillObjective::DistillObjective(CausalLm teacher, CausalLm student)
    : teacher_(std::move(teacher)), student_(std::move(student)) {
  for (auto& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
}

Tensor DistillObjective::accumulate(const Batch& batch, double weight) {
  const Tensor expected = [&] {
    const torch::NoGradGuard no_grad;
    return teacher_->hidden(batch.ids).flatten(0, 1);
  }();
  const Tensor hidden = student_->hidden(batch.ids).flatten(0, 1);
  const LossGradient result =
      linear_kl(hidden, student_->head(), expected, teacher_->head(), {.factor = weight});
  hidden.backward(result.hidden_gradient);
  return result.loss;
}

std::string DistillObjective::first_nonfinite(const Batch& batch) {
  const std::string in_teacher = first_nonfinite_layer(teacher_, batch.ids);
  return in_teacher.empty() ? first_nonfinite_layer(student_, batch.ids) : "teacher " + in_teacher;
}

}  // namespace hypenet
