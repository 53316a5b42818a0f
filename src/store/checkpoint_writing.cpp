// Model folders as they are written: weights in shards, run.json as the mark, and what is copied.
#include <array>
#include <iomanip>

#include "base/version.h"
#include "store/checkpoint.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kRun = "run.json";
constexpr std::array<const char*, 9> kCompanions = {"tokenizer.json",
                                                    "tokenizer_config.json",
                                                    "generation_config.json",
                                                    "special_tokens_map.json",
                                                    "added_tokens.json",
                                                    "vocab.json",
                                                    "merges.txt",
                                                    "chat_template.jinja",
                                                    "chat_template.json"};

/// Tensors cut into runs of at most shard_bytes each; a larger tensor is a run of its own.
std::vector<NamedTensors> cut_into_shards(const NamedTensors& tensors, int64_t shard_bytes) {
  std::vector<NamedTensors> shards(1);
  int64_t filled = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto bytes = static_cast<int64_t>(tensor.nbytes());
    if (filled > 0 && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().emplace_back(name, tensor);
    filled += bytes;
  }
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  std::ostringstream name;
  name << std::setfill('0') << "model-" << std::setw(5) << index + 1 << "-of-" << std::setw(5)
       << count << ".safetensors";
  return name.str();
}

void write_weights(const fs::path& folder, const NamedTensors& tensors, int64_t shard_bytes) {
  // transformers refuses files whose metadata does not name the framework.
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  const std::vector<NamedTensors> shards = cut_into_shards(tensors, shard_bytes);
  if (shards.size() == 1) return write_safetensors(folder / kWeights, tensors, metadata);

  Json weight_map = Json::object();
  size_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file = shard_name(i, shards.size());
    write_safetensors(folder / file, shards[i], metadata);
    for (const auto& [name, tensor] : shards[i]) {
      HYPENET_CHECK(!weight_map.contains(name), (folder / kIndex).string(), ": tensor ", name,
                    ": expected a name of its own, found it twice");
      weight_map[name] = file;
      total += tensor.nbytes();
    }
  }
  write_json(folder / kIndex, {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});
}

}  // namespace

FolderKind model_folder_kind() {
  FolderKind kind{"an earlier model folder of this program",
                  kRun,
                  {kConfig, kWeights, kIndex, "model-*-of-*.safetensors", "report.html",
                   "report.md", "report.json"}};
  kind.files.insert(kind.files.end(), kCompanions.begin(), kCompanions.end());
  return kind;
}

void write_checkpoint(const fs::path& folder, const CheckpointContents& contents) {
  FolderKind kind = model_folder_kind();
  for (const auto& [name, text] : contents.reports) kind.files.push_back(name);
  FolderWriter writer(folder, kind);
  write_weights(writer.path(), contents.tensors, contents.shard_bytes);
  write_json(writer.path() / kConfig, contents.config);
  // Always there: it marks the folder as one that this program may write anew.
  write_json(writer.path() / kRun, contents.run.value_or(Json{{"version", version()},
                                                              {"source_commit", source_commit()}}));
  if (contents.companions_from) copy_companions(*contents.companions_from, writer.path());
  for (const auto& [name, text] : contents.reports) write_file(writer.path() / name, text);
  writer.commit();
}

void copy_companions(const fs::path& from, const fs::path& to) {
  if (is_gguf(from)) {
    const ModelFiles files(from);
    for (const char* name : kCompanions) {
      if (!files.has(name)) continue;
      write_file(to / name, files.sorted_json(name).dump(2) + "\n");
    }
    return;
  }
  for (const char* name : kCompanions) {
    if (fs::exists(from / name)) write_file(to / name, read_file(from / name));
  }
}

}  // namespace hypenet
