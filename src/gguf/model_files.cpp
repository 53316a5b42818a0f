// Two sources of one thing.
#include "gguf/model_files.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/python_json.h"
#include "gguf/published_files.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

SortedJson read_sorted(const fs::path& path) {
  return read_as("JSON", "JSON", path, [&] {
    const std::string text = read_file(path);
    SortedJson value;
    const std::optional<JsonFault> fault = parse_json_text(text, value);
    if (fault) throw Error(describe_json_fault(*fault, text, path.string()));
    return value;
  });
}

}  // namespace

ModelFiles::ModelFiles(fs::path model) : model_(std::move(model)) {
  if (is_gguf(model_)) gguf_ = std::make_shared<const GgufModel>(model_);
}

bool ModelFiles::has(std::string_view name) const {
  if (!gguf_) return fs::exists(model_ / name);
  if (name == "config.json") return true;
  const bool is_of_tokens = name == "tokenizer.json" || name == "tokenizer_config.json" ||
                            name == "generation_config.json";
  return is_of_tokens && gguf_->keys().has("tokenizer.ggml.tokens");
}

std::string ModelFiles::place(std::string_view name) const {
  return model_file_place(model_, name);
}

std::string model_file_place(const fs::path& model, std::string_view name) {
  return is_gguf(model) ? concat(model.string(), ": as ", name) : (model / name).string();
}

Json ModelFiles::json(std::string_view name) const {
  if (!gguf_) return read_python_json(model_ / name);
  HYPENET_CHECK(has(name), place(name), ": expected keys that say it, found none");
  if (name == "config.json") return published_config(*gguf_);
  return name == "tokenizer_config.json" ? published_tokenizer_config(*gguf_)
                                         : published_generation_config(*gguf_);
}

SortedJson ModelFiles::sorted_json(std::string_view name) const {
  if (!gguf_) return read_sorted(model_ / name);
  HYPENET_CHECK(has(name), place(name), ": expected keys that say it, found none");
  return name == "tokenizer.json" ? published_tokenizer(*gguf_) : SortedJson(json(name));
}

std::vector<fs::path> ModelFiles::paths() const {
  std::vector<fs::path> paths;
  if (gguf_) {
    for (const GgufFile& file : gguf_->files()) paths.push_back(file.path());
    return paths;
  }
  for (const auto& entry : fs::directory_iterator(model_)) paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

}  // namespace hypenet
