// Reads the cases that tools/write_tokenizer_fixtures.py wrote, and writes tokenizers into fresh
// folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/temporary_folder.h"
#include "text/tokenizer.h"

namespace hypenet {

struct TokenizerCase {
  std::string text;  // any bytes
  std::vector<int32_t> ids;
  std::string decoded;  // of all ids
  std::string plain;    // without special tokens
};

inline std::filesystem::path tokenizer_data() {
  return std::filesystem::path(HYPENET_TEST_DATA) / "tokenizer";
}

inline std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

inline std::vector<TokenizerCase> read_cases(const Json& json) {
  std::vector<TokenizerCase> cases;
  for (const Json& item : json) {
    const std::string text = item.contains("text") ? item["text"].get<std::string>()
                                                   : bytes_of_hex(item["hex"].get<std::string>());
    cases.push_back({text, item["ids"].get<std::vector<int32_t>>(),
                     item["decoded"].get<std::string>(), item["plain"].get<std::string>()});
  }
  return cases;
}

/// Loads a tokenizer.json given as text, through a folder of its own.
inline Tokenizer load_text(const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", text);
  return Tokenizer::load(folder.path());
}

inline Tokenizer load_json(const Json& definition) { return load_text(definition.dump()); }

}  // namespace hypenet
