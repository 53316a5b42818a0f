// A token dataset written by hand, so that a test knows every token.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace hypenet {

struct HandwrittenDataset {
  std::vector<std::vector<int32_t>> shards;
  int64_t vocab_size = 4096;
  uint32_t bytes_per_token = 2;
  std::string fingerprint = "none";
};

inline void write_dataset(const std::filesystem::path& folder, const HandwrittenDataset& dataset) {
  std::filesystem::create_directories(folder);
  Json shards = Json::array();
  size_t total = 0;
  for (const auto& tokens : dataset.shards) {
    const std::string name = concat("shard", shards.size(), ".bin");
    const uint32_t numbers[2] = {dataset.bytes_per_token, 0};
    std::string bytes = "HYPTOKS1";
    bytes.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
    for (const int32_t token : tokens) {
      bytes.append(reinterpret_cast<const char*>(&token),
                   dataset.bytes_per_token);  // little-endian
    }
    write_file(folder / name, bytes);
    shards.push_back({{"file", name}, {"tokens", tokens.size()}});
    total += tokens.size();
  }
  write_json(folder / "dataset.json", {{"vocab_size", dataset.vocab_size},
                                       {"eos_id", 0},
                                       {"tokenizer", dataset.fingerprint},
                                       {"documents", 1},
                                       {"tokens", total},
                                       {"shards", shards}});
}

}  // namespace hypenet
