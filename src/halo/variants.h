// The teacher and its variants: in each one layer is replaced by its aligned twin.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/score.h"
#include "model/causal_lm.h"

namespace hypenet {

/// Variant 0 is the teacher as it is; in variant i + 1 layer i is replaced. No weights are copied.
class LayerVariants {
 public:
  /// Both models in the type that they compute in, on one device. Throws Error naming `place` and
  /// the first tensor outside the mixers in which `twins` differs from `teacher`: they are another
  /// model's twins then.
  LayerVariants(CausalLm teacher, CausalLm twins, const std::string& place = "twins");

  int64_t count() const { return layers() + 1; }
  int64_t layers() const { return teacher_->config().num_hidden_layers; }
  CausalLm& teacher() { return teacher_; }
  CausalLm& twins() { return twins_; }

  /// The block of layer i in a variant.
  Block& block(int64_t variant, int64_t i) {
    return variant == i + 1 ? twins_->layer(i) : teacher_->layer(i);
  }

  /// The variant as a model to run; its table of parameters is the teacher's.
  CausalLm model(int64_t variant);

  /// The final hidden states of all variants in their order, for score_variants. The layers below a
  /// replaced one are not run again.
  HiddenVariants hidden();

 private:
  CausalLm teacher_, twins_;
};

/// "the teacher" or "the variant of layer 3", for errors.
std::string name_of_variant(int64_t variant);

/// Throws Error unless `teacher` is attention in every layer and, naming `place`, `twins` are
/// all-recurrent twins of it.
void check_twins(const ModelConfig& teacher, const ModelConfig& twins, const std::string& place);

/// Loads both folders in `type`. Throws Error as check_twins and LayerVariants do.
LayerVariants load_variants(const std::filesystem::path& teacher,
                            const std::filesystem::path& aligned, torch::ScalarType type,
                            torch::Device device);

}  // namespace hypenet
