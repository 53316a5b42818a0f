// Distillation: two forwards, one piecewise loss.
#include "halo/distill.h"

#include "base/error.h"
#include "model/nonfinite.h"
#include "train/cross_entropy.h"
#include "train/losses.h"

namespace hypenet {

StudentObjective student_objective(const StageConfig& stage, StudentObjective own,
                                   const std::string& place) {
  if (stage.objective.empty()) return own;
  if (stage.objective == "kl") return StudentObjective::kKl;
  if (stage.objective == "kl+answers") return StudentObjective::kKlAnswers;
  HYPENET_CHECK(stage.objective == "cross_entropy", place,
                R"(: objective: expected "kl", "kl+answers" or "cross_entropy", found ")",
                stage.objective, "\"");
  return StudentObjective::kCrossEntropy;
}

std::unique_ptr<Objective> new_objective(StudentObjective minimised, CausalLm teacher,
                                         CausalLm student) {
  if (minimised == StudentObjective::kCrossEntropy) {
    return std::make_unique<CrossEntropyObjective>(std::move(student));
  }
  return std::make_unique<DistillObjective>(
      std::move(teacher), std::move(student),
      minimised == StudentObjective::kKl ? AnswersFrom::kTeacher : AnswersFrom::kText);
}

DistillObjective::DistillObjective(CausalLm teacher, CausalLm student, AnswersFrom answers)
    : teacher_(std::move(teacher)), student_(std::move(student)), answers_(answers) {
  for (auto& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
}

Tensor DistillObjective::accumulate(const Batch& batch, double weight) {
  const Tensor expected = [&] {
    const torch::NoGradGuard no_grad;
    return teacher_->hidden(batch.ids).flatten(0, 1);
  }();
  const Tensor hidden = student_->hidden(batch.ids).flatten(0, 1);
  KnownTargets known;
  if (answers_ == AnswersFrom::kText) known = {batch.answers.flatten(), batch.targets.flatten()};
  const LossGradient result =
      linear_kl(hidden, student_->head(), expected, teacher_->head(), known, {.factor = weight});
  hidden.backward(result.hidden_gradient);
  return result.loss;
}

std::string DistillObjective::loss_name() const {
  return answers_ == AnswersFrom::kText ? "KL, answers from the text" : "KL";
}

std::string DistillObjective::first_nonfinite(const Batch& batch) {
  const std::string in_teacher = first_nonfinite_layer(teacher_, batch.ids);
  const std::string in_student = first_nonfinite_layer(student_, batch.ids);
  return in_teacher.empty() ? in_student : "teacher " + in_teacher;
}

}  // namespace hypenet
