// Greedy answers of the teacher and of all its variants to a batch of prompts. The prompt's work
// below a replaced layer is the teacher's, done once: hidden states and keys and values are kept.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "halo/variants.h"
#include "ops/sampling.h"

namespace hypenet {

struct AnswerPrompt {
  std::vector<int32_t> ids;
  int64_t max_tokens = 48;  // of its answer
};

/// Answers batch after batch. A batch keeps, for each layer, the inputs of its prompts' tokens
/// beside their keys and values.
class VariantGenerator {
 public:
  /// `memory_bytes` bounds what is kept of a batch; 0: half of a GPU's free memory, or 2 GiB. The
  /// variants have to outlive it.
  explicit VariantGenerator(LayerVariants& variants, int64_t memory_bytes = 0);

  /// How many prompts from the front fit the memory together. Throws Error when not even one does.
  size_t fitting(std::span<const AnswerPrompt> prompts) const;

  /// Whether an answer (its last token is new) ends here; that token stays in it.
  using Ends = std::function<bool(size_t prompt, std::span<const int32_t> answer)>;
  /// Takes a variant's answers, one a prompt.
  using Use = std::function<void(int64_t variant, std::vector<std::vector<int32_t>> answers)>;

  /// Answers of the variants that `is_wanted` names (by their number), the teacher's first, then
  /// from the last layer down. Prompts have a token at least and fit together. Throws Error for
  /// logits that are not finite.
  void generate(std::span<const AnswerPrompt> prompts, const std::vector<bool>& is_wanted,
                const Ends& ends, const Use& use);

 private:
  /// Where a prompt's tokens lie: its slot is its place in the batch.
  struct Place {
    int64_t slot = 0, first_token = 0, tokens = 0;
    Tensor ids = {};  // int64 [1, T]
    Step step = {};
    Prefix prefix = {};
  };

  int64_t bytes_of_page() const;
  void reserve(std::span<const AnswerPrompt> prompts);
  std::vector<Place> place(std::span<const AnswerPrompt> prompts);
  Tensor inputs_of(const Place& place, int64_t layer) const;  // [1, T, D]
  Tensor prefill_teacher(const Place& place);
  Tensor prefill_variant(const Place& place, int64_t variant);
  std::vector<std::vector<int32_t>> decode(std::span<const AnswerPrompt> prompts, int64_t variant,
                                           Tensor residual, const Ends& ends);
  std::vector<int32_t> choose(const Tensor& residual, const std::vector<int64_t>& slots,
                              int64_t variant);

  LayerVariants& variants_;
  int64_t memory_bytes_;
  int64_t most_prompts_;
  std::optional<DecodeState> state_;  // the teacher's keys and values
  RecurrentStates states_ = {};       // of the one layer that is replaced
  Tensor inputs_;                     // [L, pages P, D]
  Tensor page_table_;                 // int32 [slots, pages of a prompt at most]
  SamplingState sampling_;            // greedy
};

}  // namespace hypenet
