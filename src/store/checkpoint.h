// A model folder in Hugging Face form: config.json, model.safetensors (or shards with an index),
// tokenizer files. A GGUF file is read as the folder that says the same, and a quantised folder as
// the plain one that its numbers make.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/folder_writer.h"
#include "base/json.h"
#include "gguf/model_files.h"
#include "lowbit/quantised_folder.h"
#include "store/published_names.h"
#include "store/safetensors.h"

namespace hypenet {

/// What is known of a tensor before it is read.
struct TensorFacts {
  std::vector<int64_t> shape;
  torch::ScalarType type;  // of what Checkpoint::tensor returns
  std::string stored;      // "Q4_K", "int4": the blocks or codes that it is expanded from
  /// Of what Checkpoint::packed returns: rows of a head of which 2i and 2i + 1 are i and half of
  /// these + i of what Checkpoint::tensor returns; 0: rows lie as there.
  int64_t paired_rows = 0;
  bool is_packed() const { return !stored.empty(); }
};

/// An opened model folder: its config and a view of its tensors, whichever file each lies in. Those
/// of other projects' folders have the model's names (store/published_names.h), and a quantised
/// module m is the tensor m.weight (lowbit/quantised_folder.h).
class Checkpoint {
 public:
  /// Opens config.json and either model.safetensors or model.safetensors.index.json with its
  /// shards, or a GGUF file (gguf/gguf_model.h). Throws Error naming the file and what is wrong
  /// with it: missing, truncated, a tensor the index promises and no shard has, or a
  /// quantization_config that is not read here.
  explicit Checkpoint(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Json& config() const { return config_; }
  /// What errors call config.json.
  std::string config_place() const { return files_of_model_.place("config.json"); }
  /// Of a GGUF file its shards, of a folder all that is in it.
  std::vector<std::filesystem::path> paths() const { return files_of_model_.paths(); }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return parts_.contains(name); }

  /// Has all tensors of a GGUF file, or of a folder with quantised ones, come in this type from now
  /// on; before, those that are blocks or codes come as float32, the others as they are stored.
  /// Nothing else is changed by it.
  void expand_as(torch::ScalarType type) { expanded_ = type; }

  /// What `tensor` would return. Throws Error as `tensor` does. Blocks and codes are not read.
  TensorFacts facts(const std::string& name,
                    std::optional<std::vector<int64_t>> shape = std::nullopt) const;

  /// The tensor, on the CPU, sharing the file's mapping where it is as stored. Throws Error for a
  /// missing name, or another shape when one is given: `<file>: tensor <name>: expected shape [..],
  /// found [..]`.
  Tensor tensor(const std::string& name,
                std::optional<std::vector<int64_t>> shape = std::nullopt) const;

  /// The tensor as the file packs it: of a GGUF file its bytes, uint8 [rows, bytes of a row], in
  /// the file's order of rows; of a folder as `tensor`.
  Tensor packed(const std::string& name) const;

  /// The matrix of a quantised module as the folder has it; none where the tensor is stored plain
  /// or is a part of what is stored. Throws Error as `tensor` does.
  std::optional<QuantisedMatrix> quantised(const std::string& name) const;
  /// The same without codes and scales, which are not read.
  std::optional<QuantisedMatrix> quantised_form(const std::string& name) const;

  /// All that the file has for the tensor: what `packed` returns, of a quantised module codes,
  /// scales and all else. Two files with equal ones have equal tensors.
  std::vector<Tensor> stored(const std::string& name) const;

  /// "gptq" .. where config.json says so, else empty.
  std::string quantisation_method() const { return quantised_ ? quantised_->method() : ""; }
  /// How many modules are quantised how: {"int4 in groups of 128 columns", 168}.
  std::map<std::string, int64_t> quantised_forms() const;
  /// What a user should know of the folder and no error says, a line each.
  std::vector<std::string> notes() const;

 private:
  void open_weights();
  void open_shards();
  void find_quantised();
  const StoredPart& part(const std::string& name) const;
  bool is_quantised(const StoredPart& part) const;
  Tensor stored_tensor(const std::string& name) const;
  QuantisedMatrix matrix_of(const StoredPart& part) const;
  QuantisedMatrix form_of(const StoredPart& part) const;

  std::filesystem::path folder_;
  ModelFiles files_of_model_;
  std::optional<torch::ScalarType> expanded_;  // of tensors of a GGUF file or quantised folder
  Json config_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> where_;       // of stored tensors, by their names there
  std::optional<QuantisedFolder> quantised_;  // none: a GGUF file
  std::map<std::string, StoredPart> parts_;   // by the names that the model has
};

/// What a model folder holds besides its weights.
struct CheckpointContents {
  Json config = Json::object();
  NamedTensors tensors = {};
  /// run.json: recipe, seed, source commit, parents; none: version and source commit.
  std::optional<Json> run = std::nullopt;
  /// The folder whose tokenizer and generation files are copied.
  std::optional<std::filesystem::path> companions_from = std::nullopt;
  /// The text of files that say how good the model is, by name: report.html, .md and .json.
  std::map<std::string, std::string> reports = {};
  /// Larger models are written in shards with an index.
  int64_t shard_bytes = int64_t{5} << 30;
};

/// A model folder with run.json, as write_checkpoint writes it (base/folder_writer.h).
FolderKind model_folder_kind();

/// Writes a whole model folder under a temporary name and renames it into place. Throws Error for
/// a folder that is there and no earlier one of this program.
void write_checkpoint(const std::filesystem::path& folder, const CheckpointContents& contents);

/// Copies tokenizer.json, tokenizer_config.json, generation_config.json and their kin, where there
/// are; from a GGUF file those that its keys say.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace hypenet
