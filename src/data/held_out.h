// Held-out text as token ids.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/bad_documents.h"
#include "text/tokenizer.h"

namespace hypenet {

/// Held-out tokens that are read at most.
inline constexpr int64_t kHeldOutTokens = int64_t{1} << 20;

/// Token ids of held-out text, at most kHeldOutTokens: files or folders of documents, each followed
/// by EOS, or one folder of token shards. Bad documents are left out; `tell` hears which, and which
/// files of a folder are. Throws Error when there is none.
std::vector<int32_t> read_held_out(const std::vector<std::string>& paths,
                                   const std::string& text_field, const Tokenizer& tokenizer,
                                   const std::function<void(const std::string& text)>& tell = {},
                                   OnBadDocument on_bad = OnBadDocument::kSkip);

}  // namespace hypenet
