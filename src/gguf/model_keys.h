// A model's sizes as the keys of a GGUF file: what published_config (gguf/published_files.h) reads,
// the other way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "gguf/gguf_key_list.h"
#include "gguf/tensor_table.h"

namespace hypenet {

/// What a GGUF file has of a model beside its tokenizer and its tensors.
struct GgufHead {
  std::string_view architecture;  // of gguf_architectures()
  GgufSizes sizes = {};
  bool is_tied = false;
  double rope_factor = 1;                 // of a linear scaling of RoPE
  std::vector<float> rope_divisors = {};  // rope_freqs.weight; empty: none
};

/// `config` is a config.json with all keys that model/config.h writes. Throws Error naming the key
/// for what a GGUF file of the architecture has no place for: biases that it has not, a scaling of
/// RoPE that it does not tell.
GgufHead gguf_head(const Json& config);

/// general.architecture and the keys of the architecture's own.
void add_model_keys(const Json& config, const GgufHead& head, GgufKeyList& keys);

}  // namespace hypenet
