// Targets of the files that make a model: weights, config, recipes and the states of training.
#include <algorithm>

#include "fuzz/target.h"
#include "halo/recipe.h"
#include "model/config.h"
#include "store/checkpoint.h"
#include "tests/support/token_dataset.h"
#include "text/chat_template.h"
#include "text/stop_ids.h"
#include "text/tokenizer.h"
#include "train/loop.h"

namespace hypenet::fuzz {
namespace {

/// Touches a tensor's first and last byte.
void touch(const Tensor& tensor) {
  if (tensor.numel() == 0) return;
  const auto* bytes = static_cast<const volatile char*>(tensor.data_ptr());
  const auto first = bytes[0], last = bytes[tensor.nbytes() - 1];
  static_cast<void>(first), static_cast<void>(last);
}

class NoObjective : public Objective {
 public:
  Tensor accumulate(const Batch&, double) override { return {}; }
  std::string first_nonfinite(const Batch&) override { return {}; }
};

/// Where the last tensor of a safetensors header ends, as far as that is a size for a test.
size_t end_of_data(std::string_view header) {
  constexpr size_t kMost = size_t{1} << 16;
  size_t end = 0;
  attempt([&] {
    const Json tensors = parse_json(header, "header");
    for (const auto& [name, tensor] : tensors.items()) {
      if (!tensor.is_object() || !tensor.contains("data_offsets")) continue;
      const Json& offsets = tensor["data_offsets"];
      if (!offsets.is_array() || offsets.size() != 2 || !offsets[1].is_number_unsigned()) continue;
      end = std::max(end, std::min(offsets[1].get<size_t>(), kMost));
    }
  });
  return end;
}

/// A safetensors file of this header, its data repeated or cut to where the last tensor ends.
std::string file_of(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  file += header;
  for (size_t end = file.size() + end_of_data(header); file.size() < end;) {
    file += data.empty() ? std::string_view("\0", 1) : data.substr(0, end - file.size());
  }
  return file;
}

}  // namespace

void read_safetensors(std::string_view input) {
  const SafetensorsFile file(put("model.safetensors", input));
  for (const std::string& name : file.names()) {
    attempt([&] { touch(file.tensor(name)); });
  }
}

/// model.safetensors.index.json --- config.json; two shards are there
void read_checkpoint(std::string_view input) {
  static const bool is_ready = [] {
    // With tensors that are cut where config.json is that of a published hybrid.
    const std::string layer = "model.layers.0.";
    write_safetensors(folder() / "a.safetensors",
                      {{"a", torch::zeros({2, 2})},
                       {layer + "self_attn.q_proj.weight", torch::zeros({16, 2})},
                       {layer + "self_attn.k_norm.weight", torch::zeros({4})}});
    write_safetensors(folder() / "b.safetensors",
                      {{"b", torch::zeros({3})},
                       {layer + "linear_attn.in_proj_qkvz.weight", torch::zeros({12, 2})},
                       {layer + "attn.A_log", torch::zeros({2})}});
    return true;
  }();
  static_cast<void>(is_ready);
  const auto part = parts(input, 2);
  put("model.safetensors.index.json", part[0]);
  put("config.json", part[1].empty() ? "{}" : part[1]);
  const Checkpoint checkpoint(folder());
  for (const std::string& name : checkpoint.names()) {
    attempt([&] { touch(checkpoint.tensor(name)); });
  }
}

/// config.json --- header of model.safetensors --- its data
void read_quantised_folder(std::string_view input) {
  const auto part = parts(input, 3);
  put("config.json", part[0]);
  put("model.safetensors", file_of(part[1], part[2]));
  Checkpoint checkpoint(folder());
  for (const std::string& name : checkpoint.names()) {
    attempt([&] { checkpoint.facts(name); });
    attempt([&] { touch(checkpoint.tensor(name)); });
    attempt([&] {
      if (const auto matrix = checkpoint.quantised(name)) touch(matrix->expand(torch::kBFloat16));
    });
  }
  attempt([&] { checkpoint.quantised_forms(); });
}

/// model.gguf: tensors, config, template, tokenizer
void read_gguf(std::string_view input) {
  constexpr JinjaLimits kLimits = {.turns = 1000,
                                   .text_bytes = 1 << 16,
                                   .steps = 10'000,
                                   .items = 10'000,
                                   .made_bytes = 1 << 20};
  const auto path = put("model.gguf", input);
  attempt([&] {
    const Checkpoint checkpoint(path);
    for (const std::string& name : checkpoint.names()) touch(checkpoint.tensor(name));
    parse_model_config(checkpoint.config(), checkpoint.config_place());
  });
  attempt([&] { ChatTemplate::load(path, kLimits); });
  const Tokenizer tokenizer = Tokenizer::load(path);
  read_stop_ids(path, tokenizer);
  tokenizer.decode(tokenizer.encode("It's 12 o'clock.\n\n  na\u00efve <|end|>"));
}

void read_config(std::string_view input) {
  const ModelConfig config = parse_model_config(parse_json(input, "config.json"), "config.json");
  parse_model_config(to_json(config), "as written");
}

/// a recipe --- an option of --set
void read_recipe(std::string_view input) {
  const auto part = parts(input, 2);
  RecipeSource source{.path = put("recipe.json", part[0])};
  if (!part[1].empty()) source.settings = {std::string(part[1])};
  attempt([&] { read_halo_recipe(source); });
  attempt([&] { read_pretrain_recipe(source); });
}

/// metrics.jsonl --- align.state.safetensors, of a stage without steps
void read_state(std::string_view input) {
  static const Batches batches = [] {
    write_dataset(folder() / "tokens", {.shards = {{1, 2, 3, 4}}});
    const auto dataset = std::make_shared<const TokenDataset>(folder() / "tokens");
    return Batches(dataset, nullptr, {.context = 2});
  }();
  const auto part = parts(input, 2);
  put("metrics.jsonl", part[0]);
  put("align.state.safetensors", part[1]);
  TrainJob job{.stage = "align", .folder = folder(), .settings = {{"seed", 1}}};
  job.config.steps = 0;
  job.parameters = {{"w", torch::zeros({2})}};
  NoObjective objective;
  train(job, batches, objective);
}

}  // namespace hypenet::fuzz
