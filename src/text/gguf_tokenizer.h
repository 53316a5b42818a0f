// A folder's tokenizer and chat template as the keys of a GGUF file: what gguf/published_files.h
// reads, the other way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "gguf/gguf_key_list.h"

namespace hypenet {

/// The model that the keys are of.
struct TokenizerOwner {
  std::string_view architecture;  // of gguf_architectures()
  const Json& config;             // bos_token_id, eos_token_id: an integer or null
  int64_t vocab_size = 0;         // rows of the embedding: so many tokens are written
};

/// tokenizer.ggml.* and tokenizer.chat_template of a folder with a tokenizer.json (or of a GGUF
/// file). `tell` hears what there is no key for and changes no token. Throws Error as
/// Tokenizer::load, and naming the folder's key for a tokenizer that llama.cpp would not split
/// alike: other pre-tokenizers than those with a name (gguf/published_files.h), another
/// normalizer, added tokens that take white space or whole words, more tokens than rows.
void add_tokenizer_keys(const std::filesystem::path& folder, const TokenizerOwner& owner,
                        const std::function<void(const std::string&)>& tell, GgufKeyList& keys);

}  // namespace hypenet
