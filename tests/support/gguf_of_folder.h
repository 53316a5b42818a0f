// The GGUF file that says the same as a folder, as llama.cpp's converter writes it.
#pragma once

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/support/gguf_builder.h"

namespace hypenet::testing_support {

/// The keys of a tokenizer.json whose pre-tokenizer has this name there.
inline void add_tokenizer(GgufBuilder& file, const std::filesystem::path& path, const char* pre) {
  const Json json = read_json(path);
  const Json& vocab = json["model"]["vocab"];
  size_t count = 0;
  for (const Json& id : vocab) count = std::max(count, id.get<size_t>() + 1);
  for (const Json& added : json["added_tokens"]) {
    count = std::max(count, added["id"].get<size_t>() + 1);
  }
  std::vector<std::string> tokens(count), merges;
  std::vector<int32_t> types(count, 1);
  for (const auto& [entry, id] : vocab.items()) tokens[id.get<size_t>()] = entry;
  for (const Json& added : json["added_tokens"]) {
    tokens[added["id"].get<size_t>()] = added["content"].get<std::string>();
    types[added["id"].get<size_t>()] = added["special"] == true ? 3 : 4;
  }
  for (const Json& merge : json["model"]["merges"]) {
    const bool is_text = merge.is_string();
    merges.push_back(is_text
                         ? merge.get<std::string>()
                         : concat(merge[0].get<std::string>(), ' ', merge[1].get<std::string>()));
  }
  file.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre);
  file.texts("tokenizer.ggml.tokens", tokens).integers("tokenizer.ggml.token_type", types);
  file.texts("tokenizer.ggml.merges", merges);
}

}  // namespace hypenet::testing_support
