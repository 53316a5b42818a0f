// The tokens that end a text, as a model folder names them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {

/// eos_token_id (one or a list) of the folder's config.json and generation_config.json, where they
/// are, and the tokenizer's EOS; ascending. Throws Error for an eos_token_id that is neither null,
/// an integer nor a list of integers, and for ids that are none of 31 bits.
std::vector<int32_t> read_stop_ids(const std::filesystem::path& folder, const Tokenizer& tokenizer);

/// Those, and what ends a turn of the template. Throws Error also where the template's token is
/// none of the tokenizer.
std::vector<int32_t> read_chat_stop_ids(const std::filesystem::path& folder,
                                        const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace hypenet
