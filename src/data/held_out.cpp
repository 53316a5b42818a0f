// Reading stops where there is enough.
#include "data/held_out.h"

#include <algorithm>

#include "base/error.h"
#include "data/documents.h"
#include "data/token_shard.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

std::vector<int32_t> read_shards(const fs::path& folder, const Tokenizer& tokenizer,
                                 const std::function<void(const std::string&)>& tell) {
  const TokenDataset dataset(folder);
  check_tokenizer(dataset, tokenizer, tell);
  std::vector<int32_t> tokens(static_cast<size_t>(std::min(kHeldOutTokens, dataset.tokens())));
  dataset.read(0, tokens);
  return tokens;
}

}  // namespace

std::vector<int32_t> read_held_out(const std::vector<std::string>& paths,
                                   const std::string& text_field, const Tokenizer& tokenizer,
                                   const std::function<void(const std::string& text)>& tell,
                                   OnBadDocument on_bad) {
  if (paths.size() == 1 && fs::exists(fs::path(paths.front()) / "dataset.json"))
    return read_shards(paths.front(), tokenizer, tell);
  constexpr auto kMost = static_cast<size_t>(kHeldOutTokens);
  std::vector<int32_t> tokens;
  BadDocuments bad(on_bad);
  for (const auto& file : document_files({paths.begin(), paths.end()}, tell)) {
    if (tokens.size() >= kMost) break;
    for_each_document(file, text_field, bad, [&](std::string_view text) {
      const std::vector<int32_t> ids = tokenizer.encode(text);
      tokens.insert(tokens.end(), ids.begin(), ids.end());
      if (tokenizer.eos_id()) tokens.push_back(*tokenizer.eos_id());
      return tokens.size() < kMost;
    });
  }
  bad.check_some_are_good();
  HYPENET_CHECK(!tokens.empty(), paths.front(), ": expected text, found none");
  if (tell && bad.bad() > 0) tell(bad.summary());
  tokens.resize(std::min(tokens.size(), kMost));
  return tokens;
}

}  // namespace hypenet
