// A model folder with random weights and a token a byte, for tests of the program.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>

#include "model/causal_lm.h"
#include "store/checkpoint.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/tiny_model.h"

namespace hypenet::testing_support {

/// Writes the tiny HypeNet with this vocabulary, in float32.
inline void write_tiny_model(const std::filesystem::path& folder, int64_t vocab_size,
                             uint64_t seed = 3) {
  torch::manual_seed(seed);
  ModelConfig config = tiny_hypenet_config();
  config.vocab_size = vocab_size;
  config.torch_dtype = "float32";
  config.max_position_embeddings = 4096;
  CausalLm model(config);
  write_checkpoint(folder, {.config = to_json(config),
                            .tensors = named_weights(*model, torch::kFloat32),
                            .run = {},
                            .companions_from = {}});
}

/// The same with the byte tokenizer.
inline void write_byte_model(const std::filesystem::path& folder, uint64_t seed = 3) {
  write_tiny_model(folder, 264, seed);
  write_byte_tokenizer(folder);
}

}  // namespace hypenet::testing_support
