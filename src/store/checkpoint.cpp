// Model folders as they are read: which file holds which tensor, and what it is there.
#include "store/checkpoint.h"

#include <set>

#include "base/file_kind.h"
#include "base/folder_hint.h"
#include "base/python_json.h"
#include "store/gguf_tensors.h"
#include "store/missing_weights.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kMambaConfig = "mamba_config.json";  // beside a Llama's config.json

/// weight_map of an index file: tensor name -> shard's file name.
std::map<std::string, std::string> read_weight_map(const fs::path& path) {
  const Json json = read_json(path);
  HYPENET_CHECK(
      json.is_object() && json.contains("weight_map") && json.at("weight_map").is_object(),
      path.string(), ": expected an object with an object weight_map, found none");
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : json.at("weight_map").items()) {
    HYPENET_CHECK(shard.is_string(), path.string(), ": weight_map: ", name,
                  ": expected a string, found ", json_kind(shard));
    const auto file = shard.get<std::string>();
    HYPENET_CHECK(!file.empty() && file == fs::path(file).filename(), path.string(),
                  ": weight_map: ", name,
                  ": expected the name of a file in the same folder, found ", file);
    shards[name] = file;
  }
  return shards;
}

/// All shards, before the first is read: how many are missing tells an incomplete download.
void check_shards_are_there(const fs::path& index, const std::map<std::string, std::string>& map) {
  std::set<std::string> shards, missing;
  for (const auto& [name, file] : map) {
    shards.insert(file);
    if (!fs::exists(index.parent_path() / file)) missing.insert(file);
  }
  for (const auto& [name, file] : map) {
    if (!missing.contains(file)) continue;
    const std::string kind = kind_of_file(index.parent_path() / file);
    throw Error(concat(index.string(), ": tensor ", name, ": expected shard ", file, ", found ",
                       kind.empty() ? "no such file" : kind, " (", missing.size(), " of ",
                       shards.size(), " shards missing: an incomplete download?)"));
  }
}

void check_config_is_there(const fs::path& folder) {
  if (fs::exists(fs::symlink_status(folder / kConfig))) return;
  const std::string other = describe_other_weights(folder);
  HYPENET_CHECK(other.empty(), (folder / kConfig).string(),
                ": cannot open: No such file or directory; the folder has ", other);
}

}  // namespace

Checkpoint::Checkpoint(fs::path folder) : folder_(std::move(folder)), files_of_model_(folder_) {
  if (const auto& gguf = files_of_model_.gguf()) {
    config_ = files_of_model_.json(kConfig);
    for (const auto& [name, unused] : gguf->tensors()) parts_[name] = {.name = name};
    return;
  }
  check_model_folder(folder_);
  check_config_is_there(folder_);
  config_ = read_python_json(folder_ / kConfig);
  HYPENET_CHECK(config_.is_object(), (folder_ / kConfig).string(), ": expected an object, found ",
                json_kind(config_));
  if (fs::exists(folder_ / kMambaConfig)) {
    config_["mamba_config"] = read_json(folder_ / kMambaConfig);
  }
  open_weights();
  find_quantised();
  parts_ = stored_parts(config_, quantised_->names(), folder_.string());
}

void Checkpoint::find_quantised() {
  QuantisedFolder::Types types;
  for (const auto& [name, file] : where_) types[name] = files_[file].entry(name).type;
  quantised_.emplace(config_, (folder_ / kConfig).string(), folder_.string(), types);
}

void Checkpoint::open_weights() {
  // A link to a missing file counts as there: the error then names it.
  if (!fs::exists(fs::symlink_status(folder_ / kWeights))) return open_shards();
  files_.emplace_back(folder_ / kWeights);
  for (const std::string& name : files_[0].names()) where_[name] = 0;
}

void Checkpoint::open_shards() {
  const fs::path index = folder_ / kIndex;
  if (!fs::exists(fs::symlink_status(index))) {
    const std::string other = describe_other_weights(folder_);
    throw Error(concat(folder_.string(), ": expected ", kWeights, " or ", kIndex, ", found neither",
                       other.empty() ? "" : ", but ", other));
  }
  const std::map<std::string, std::string> weight_map = read_weight_map(index);
  check_shards_are_there(index, weight_map);
  std::map<std::string, size_t> opened;
  for (const auto& [name, file] : weight_map) {
    if (opened.contains(file)) continue;
    opened[file] = files_.size();
    files_.emplace_back(folder_ / file);
  }
  for (const auto& [name, file] : weight_map) {
    HYPENET_CHECK(files_[opened[file]].contains(name), index.string(), ": tensor ", name,
                  ": expected in ", file, ", found no such tensor there");
  }
  // What the index does not name is a tensor of the model as well.
  for (size_t shard = 0; shard < files_.size(); ++shard) {
    for (const std::string& name : files_[shard].names()) {
      const auto [found, is_first] = where_.emplace(name, shard);
      HYPENET_CHECK(is_first, folder_.string(), ": tensor ", name, ": expected in one shard, found",
                    " in ", files_[found->second].path().filename().string(), " and ",
                    files_[shard].path().filename().string());
    }
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : parts_) names.push_back(name);
  return names;
}

const StoredPart& Checkpoint::part(const std::string& name) const {
  const auto found = parts_.find(name);
  HYPENET_CHECK(found != parts_.end(), folder_.string(), ": tensor ", name,
                ": expected in the checkpoint, found none");
  return found->second;
}

namespace {

void check_shape(const fs::path& file, const std::string& name, torch::IntArrayRef found,
                 const std::optional<std::vector<int64_t>>& expected) {
  HYPENET_CHECK(!expected || found == *expected, file.string(), ": tensor ", name,
                ": expected shape ", torch::IntArrayRef(*expected), ", found ", found);
}

/// Whoever has the folder knows the names there.
std::string told_name(const StoredPart& part, const std::string& name) {
  return part.name == name ? name : concat(part.name, " (", name, ")");
}

/// Of a plain tensor beside quantised ones, where these come in a type.
torch::ScalarType type_as(torch::ScalarType stored, std::optional<torch::ScalarType> expanded) {
  return expanded && torch::isFloatingType(stored) ? *expanded : stored;
}

}  // namespace

bool Checkpoint::is_quantised(const StoredPart& part) const {
  return quantised_ && quantised_->is_quantised(part.name);
}

Tensor Checkpoint::stored_tensor(const std::string& name) const {
  return files_[where_.at(name)].tensor(name);
}

QuantisedMatrix Checkpoint::form_of(const StoredPart& part) const {
  return quantised_->form(part.name, [this](const std::string& n) { return stored_tensor(n); });
}

QuantisedMatrix Checkpoint::matrix_of(const StoredPart& part) const {
  return quantised_->matrix(part.name, [this](const std::string& n) { return stored_tensor(n); });
}

TensorFacts Checkpoint::facts(const std::string& name,
                              std::optional<std::vector<int64_t>> shape) const {
  const StoredPart& found = part(name);
  if (const auto& gguf = files_of_model_.gguf()) {
    const PublishedTensor& published = gguf->tensors().at(found.name);
    const GgufTensor& stored = *published.stored;
    check_shape(folder_, name, stored.shape, shape);
    const BlockLayout& layout = block_layout(stored.type);
    return {stored.shape, expanded_.value_or(type_of(stored.type)),
            layout.is_plain ? "" : std::string(layout.name),
            published.paired_heads > 0 ? stored.shape[0] / published.paired_heads : 0};
  }
  if (!found.is_whole()) {
    const std::string stored =
        is_quantised(found) ? std::string(code_type_name(form_of(found).type)) : "";
    const Tensor whole = tensor(name, std::move(shape));
    return {whole.sizes().vec(), whole.scalar_type(), stored};
  }
  const std::string told = told_name(found, name);
  if (is_quantised(found)) {
    const QuantisedMatrix form = form_of(found);
    const std::vector<int64_t> sizes = {form.rows, form.columns};
    check_shape(folder_, told, sizes, shape);
    return {sizes, expanded_.value_or(torch::kFloat32), std::string(code_type_name(form.type))};
  }
  const SafetensorsFile& file = files_[where_.at(found.name)];
  const SafetensorsFile::Entry& entry = file.entry(found.name);
  check_shape(file.path(), told, entry.shape, shape);
  return {entry.shape, quantised_->has_quantised() ? type_as(entry.type, expanded_) : entry.type,
          ""};
}

Tensor Checkpoint::tensor(const std::string& name,
                          std::optional<std::vector<int64_t>> shape) const {
  const StoredPart& found = part(name);
  const auto check = [told = told_name(found, name), expected = std::move(shape)](
                         const fs::path& file, const auto& sizes) {
    check_shape(file, told, sizes, expected);
  };
  if (const auto& gguf = files_of_model_.gguf()) {
    const PublishedTensor& stored = gguf->tensors().at(found.name);
    check(folder_, stored.stored->shape);
    return gguf_tensor(gguf, stored, expanded_);
  }
  if (is_quantised(found)) {
    const QuantisedMatrix form = form_of(found);
    if (found.is_whole()) check(folder_, std::vector<int64_t>{form.rows, form.columns});
    const Tensor values = matrix_of(found).expand(expanded_.value_or(torch::kFloat32));
    const Tensor tensor = take_part(values, found, folder_.string());
    check(folder_, tensor.sizes());
    return tensor;
  }
  const SafetensorsFile& file = files_[where_.at(found.name)];
  Tensor stored = file.tensor(found.name);
  if (quantised_->has_quantised()) stored = stored.to(type_as(stored.scalar_type(), expanded_));
  const Tensor tensor = take_part(stored, found, file.path().string());
  check(file.path(), tensor.sizes());
  return tensor;
}

Tensor Checkpoint::packed(const std::string& name) const {
  const auto& gguf = files_of_model_.gguf();
  return gguf ? gguf_blocks(gguf, gguf->tensors().at(part(name).name)) : tensor(name);
}

std::optional<QuantisedMatrix> Checkpoint::quantised(const std::string& name) const {
  const StoredPart& found = part(name);
  return is_quantised(found) && found.is_whole() ? std::optional(matrix_of(found)) : std::nullopt;
}

std::optional<QuantisedMatrix> Checkpoint::quantised_form(const std::string& name) const {
  const StoredPart& found = part(name);
  return is_quantised(found) && found.is_whole() ? std::optional(form_of(found)) : std::nullopt;
}

std::vector<Tensor> Checkpoint::stored(const std::string& name) const {
  const StoredPart& found = part(name);
  if (!is_quantised(found)) return {packed(name)};
  std::vector<Tensor> tensors;
  for (const std::string& one : quantised_->stored_names(found.name)) {
    tensors.push_back(stored_tensor(one));
  }
  return tensors;
}

std::map<std::string, int64_t> Checkpoint::quantised_forms() const {
  std::map<std::string, int64_t> forms;
  if (!quantised_) return forms;
  for (const std::string& name : quantised_->names()) {
    if (quantised_->is_quantised(name)) ++forms[describe_form(form_of({.name = name}))];
  }
  return forms;
}

std::vector<std::string> Checkpoint::notes() const {
  const std::string left_aside = quantised_ ? quantised_->left_aside() : "";
  return left_aside.empty() ? std::vector<std::string>() : std::vector{left_aside};
}

}  // namespace hypenet
