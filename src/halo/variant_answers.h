// The teacher and all its variants answer the same requests. What is below a replaced layer is the
// teacher's work and done once: of prompts, hidden states and keys and values are kept.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "eval/respondent.h"
#include "halo/variants.h"

namespace hypenet {

class VariantRespondent : public Respondent {
 public:
  /// `memory_bytes` bounds what is kept of prompts that are answered together: the inputs of each
  /// layer beside its keys and values; 0: half of a GPU's free memory, or 2 GiB. `batch_tokens`: of
  /// a scoring batch; 0: chosen by device. The variants have to outlive it.
  explicit VariantRespondent(LayerVariants& variants, int64_t memory_bytes = 0,
                             int64_t batch_tokens = 0)
      : variants_(variants), memory_bytes_(memory_bytes), batch_tokens_(batch_tokens) {}

  size_t variants() const override { return static_cast<size_t>(variants_.count()); }
  int64_t made_for() const override {
    return variants_.teacher()->config().max_position_embeddings;
  }
  std::string name_of_likelihood(size_t variant) const override {
    return "sweep: log-likelihood of " + name_of_variant(static_cast<int64_t>(variant));
  }
  int64_t batch_tokens() const override;
  void score(std::span<const ScoredRow> rows, const RowBatches& batches,
             const OnScores& on_scores) override;

  /// Prompts that fit the memory together are a batch: the teacher answers it, then the variants
  /// from the last layer down, each telling its answers once it has them all. Throws Error before
  /// anything runs for a prompt that does not fit alone.
  void generate(std::span<const Request> requests, const AnswerUse& use) override;

 private:
  LayerVariants& variants_;
  int64_t memory_bytes_, batch_tokens_;
};

}  // namespace hypenet
