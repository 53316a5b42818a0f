// What a model folder says of itself beside its weights, for `inspect`.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "model/config.h"
#include "store/checkpoint.h"

namespace hypenet {

struct ModelFact {
  std::string name, text;  // "context length", "256 tokens"
  std::string key;         // in JSON
  Json value;              // null where there is none, or none that can be read
};

/// Vocabulary, context length, RoPE, embedding, biases, logits scaling, end of text, tokenizer and
/// chat template. A tokenizer or template that cannot be read is a fact too, and no error.
std::vector<ModelFact> model_facts(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace hypenet
