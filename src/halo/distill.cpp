// Distillation: two forwards, one piecewise loss.
#include "halo/distill.h"

#include <algorithm>

#include "base/error.h"
#include "model/nonfinite.h"
#include "train/cross_entropy.h"

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
                                         CausalLm student, RowPartsPointer row) {
  if (minimised == StudentObjective::kCrossEntropy) {
    return std::make_unique<CrossEntropyObjective>(std::move(student));
  }
  return std::make_unique<DistillObjective>(
      std::move(teacher), std::move(student),
      minimised == StudentObjective::kKl ? AnswersFrom::kTeacher : AnswersFrom::kText,
      std::move(row));
}

DistillObjective::DistillObjective(CausalLm teacher, CausalLm student, AnswersFrom answers,
                                   RowPartsPointer row)
    : teacher_(std::move(teacher)),
      student_(std::move(student)),
      answers_(answers),
      row_(std::move(row)) {
  for (auto& parameter : teacher_->parameters()) parameter.set_requires_grad(false);
}

KnownTargets DistillObjective::known_targets(const Batch& batch) const {
  Tensor where;
  if (answers_ == AnswersFrom::kText) where = batch.answers;
  const int64_t most = teacher_->config().max_position_embeddings;  // 0: not said
  const int64_t tokens = batch.ids.size(1);
  const int64_t first = row_ ? row_->first_token(row_->index()) : 0;
  const int64_t inside = most == 0 ? tokens : std::clamp<int64_t>(most - first, 0, tokens);
  if (inside < tokens) {
    Tensor beyond = torch::zeros_like(batch.ids, torch::kBool);
    beyond.narrow(1, inside, tokens - inside).fill_(true);
    where = where.defined() ? where.logical_or(beyond) : beyond;
  }
  return where.defined() ? KnownTargets{where.flatten(), batch.targets.flatten()} : KnownTargets();
}

Tensor DistillObjective::accumulate(const Batch& batch, double weight) {
  const Tensor expected = [&] {
    const torch::NoGradGuard no_grad;
    return teacher_->hidden(batch.ids).flatten(0, 1);
  }();
  const Tensor hidden = student_->hidden(batch.ids).flatten(0, 1);
  const LossGradient result = linear_kl(hidden, student_->head(), expected, teacher_->head(),
                                        known_targets(batch), {.factor = weight});
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
