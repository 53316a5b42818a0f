// What a model's keys say, in the form of the small files of a published folder.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "gguf/gguf_model.h"

namespace hypenet {

/// config.json: LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM or HypeNetForCausalLM. Throws
/// Error for scalings of RoPE other than Llama 3's.
Json published_config(const GgufModel& model);

/// tokenizer.json of a byte-level BPE (tokenizer.ggml.model "gpt2"), its pre-tokenizer the one that
/// tokenizer.ggml.pre names: gpt-2, default, smollm, qwen2, llama-bpe. Throws Error for others, for
/// two equal tokens, and for lists whose lengths differ.
SortedJson published_tokenizer(const GgufModel& model);

/// What stands in front of BPE, by its name in tokenizer.ggml.pre.
struct TokenizerSteps {
  std::string_view name;
  SortedJson pre_tokenizer;     // of tokenizer.json
  bool normalizes = false;      // by NFC
  bool ignores_merges = false;  // a word that is an entry is not merged anew
};

/// Those that published_tokenizer knows and llama.cpp splits alike: all but default.
std::vector<TokenizerSteps> known_tokenizer_steps();

/// tokenizer_config.json: the named tokens and the chat template.
Json published_tokenizer_config(const GgufModel& model);

/// generation_config.json: what ends a text or a turn.
Json published_generation_config(const GgufModel& model);

}  // namespace hypenet
