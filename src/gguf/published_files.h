// What a model's keys say, in the form of the small files of a published folder.
#pragma once

#include "base/json.h"
#include "gguf/gguf_model.h"

namespace hypenet {

/// config.json: LlamaForCausalLM, Qwen2ForCausalLM or Qwen3ForCausalLM. Throws Error for scalings
/// of RoPE other than Llama 3's.
Json published_config(const GgufModel& model);

/// tokenizer.json of a byte-level BPE (tokenizer.ggml.model "gpt2"), its pre-tokenizer the one that
/// tokenizer.ggml.pre names: gpt-2, default, smollm, qwen2, llama-bpe. Throws Error for others, for
/// two equal tokens, and for lists whose lengths differ.
SortedJson published_tokenizer(const GgufModel& model);

/// tokenizer_config.json: the named tokens and the chat template.
Json published_tokenizer_config(const GgufModel& model);

/// generation_config.json: what ends a text or a turn.
Json published_generation_config(const GgufModel& model);

}  // namespace hypenet
