// Tokens that a folder names beside tokenizer.json, read as the Python package `transformers`
// (5.24; 4.57 alike but for tokens of a model's own) reads them for its fast tokenizers.
#pragma once

#include <optional>
#include <string>

#include "text/tokenizer_file.h"

namespace hypenet {

struct NamedTokens {
  std::optional<std::string> bos, eos;
};

/// Adds to `file` the tokens of tokenizer_config.json (added_tokens_decoder, the special tokens,
/// additional_special_tokens, extra_special_tokens), and where that has no added_tokens_decoder
/// those of special_tokens_map.json and added_tokens.json. A token that tokenizer.json has takes
/// the flags given here; one that it lacks gets the next free id. Throws Error naming the file and
/// the key for an id that is not the one that `transformers` would give, for split_special_tokens,
/// and for values of the wrong kind.
NamedTokens read_token_files(const ModelFiles& files, TokenizerFile& file);

}  // namespace hypenet
