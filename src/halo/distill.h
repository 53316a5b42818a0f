// Knowledge distillation, HALO's stage 2 and, at length, a better stage 3 than plain text: the
// whole student learns the teacher's next-token distribution.
#pragma once

#include <memory>
#include <string>

#include "model/causal_lm.h"
#include "train/loop.h"
#include "train/losses.h"

namespace hypenet {

/// What stages 2 and 3 may minimise (StageConfig::objective): "kl", the divergence from the
/// teacher, stage 2's own; "kl+answers", the same, but answers of needle and recall rows are learnt
/// from the text; "cross_entropy", the text, stage 3's own.
enum class StudentObjective { kKl, kKlAnswers, kCrossEntropy };

/// The objective of a stage, `own` where it names none; throws Error naming `place` and the
/// choices.
StudentObjective student_objective(const StageConfig& stage, StudentObjective own,
                                   const std::string& place);

/// That objective for these models; cross_entropy needs no teacher. `row`: as of split_rows.
std::unique_ptr<Objective> new_objective(StudentObjective minimised, CausalLm teacher,
                                         CausalLm student, RowPartsPointer row = {});

/// Who teaches the answers of needle and recall rows (Batch::answers). A teacher that misses facts
/// far back, beyond its own context for one, would teach to miss them.
enum class AnswersFrom { kTeacher, kText };

/// Loss: KL(teacher || student) per token over the full vocabulary, and with AnswersFrom::kText
/// -log probability of the right token in answers; neither model's [B, T, V] logits are ever whole.
/// From position max_position_embeddings of the teacher's config on, all is learnt from the text:
/// there a Transformer with RoPE no longer predicts it.
class DistillObjective : public Objective {
 public:
  DistillObjective(CausalLm teacher, CausalLm student, AnswersFrom answers = AnswersFrom::kTeacher,
                   RowPartsPointer row = {});
  Tensor accumulate(const Batch& batch, double weight) override;
  std::string loss_name() const override;
  std::string first_nonfinite(const Batch& batch) override;

 private:
  KnownTargets known_targets(const Batch& batch) const;

  CausalLm teacher_, student_;
  AnswersFrom answers_;
  RowPartsPointer row_;  // null: a batch has whole rows
};

}  // namespace hypenet
