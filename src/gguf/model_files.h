// The small files of a model, whether a folder holds them or a GGUF file's keys say the same:
// whoever reads config.json, tokenizer.json and the like asks here.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "gguf/gguf_model.h"

namespace hypenet {

class ModelFiles {
 public:
  /// A folder is not looked into. Throws Error as GgufModel does.
  explicit ModelFiles(std::filesystem::path model);

  /// nullptr for a folder.
  const std::shared_ptr<const GgufModel>& gguf() const { return gguf_; }

  bool has(std::string_view name) const;

  /// What errors call the file: "<folder>/config.json", "<file>.gguf: as config.json".
  std::string place(std::string_view name) const;

  /// The file's value. Throws Error where it is missing or no JSON, and as the functions of
  /// gguf/published_files.h do.
  Json json(std::string_view name) const;
  /// The same of tokenizer.json, whose vocabulary Json is too slow for.
  SortedJson sorted_json(std::string_view name) const;

  /// Of a GGUF file its shards, of a folder all files in it; in order.
  std::vector<std::filesystem::path> paths() const;

 private:
  std::filesystem::path model_;
  std::shared_ptr<const GgufModel> gguf_;
};

/// ModelFiles::place without looking into the file.
std::string model_file_place(const std::filesystem::path& model, std::string_view name);

}  // namespace hypenet
