// The smallest tokenizer there is: one token a byte (ids 0 to 255) and <|endoftext|> (256).
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"

namespace hypenet::testing_support {

inline constexpr int64_t kByteTokens = 257;

/// The character that stands for a byte in byte-level vocabularies, as UTF-8.
inline std::string character_of_byte(int byte) {
  const auto is_itself = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  int code = byte;
  if (!is_itself(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += is_itself(b) ? 0 : 1;
  }
  if (code < 128) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 63))};
}

/// Writes tokenizer.json and tokenizer_config.json into an existing folder.
inline void write_byte_tokenizer(const std::filesystem::path& folder) {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocabulary[character_of_byte(byte)] = byte;
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json end = {
      {"id", 256},       {"content", "<|endoftext|>"}, {"single_word", false}, {"lstrip", false},
      {"rstrip", false}, {"normalized", false},        {"special", true}};
  const Json model = {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", nullptr},
                      {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr},
                      {"fuse_unk", false},
                      {"byte_fallback", false},
                      {"vocab", vocabulary},
                      {"merges", Json::array()}};
  write_json(folder / "tokenizer.json", {{"version", "1.0"},
                                         {"truncation", nullptr},
                                         {"padding", nullptr},
                                         {"added_tokens", Json::array({end})},
                                         {"normalizer", nullptr},
                                         {"pre_tokenizer", byte_level},
                                         {"post_processor", nullptr},
                                         {"decoder", byte_level},
                                         {"model", model}});
  write_json(folder / "tokenizer_config.json", {{"eos_token", "<|endoftext|>"}});
}

}  // namespace hypenet::testing_support
