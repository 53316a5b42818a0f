// Between a model's parameters and the tensors of a checkpoint folder: the names are the same on
// both sides (those of other projects' folders: store/published_names.h).
#include "model/weights.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "model/packed_weights.h"

namespace hypenet {
namespace {

const std::string kHead = "lm_head.weight", kEmbedding = "model.embed_tokens.weight";

/// Tensors that published checkpoints carry and no model reads: a tied head's second copy, old
/// frequency tables.
bool is_redundant(const std::string& name, const ModelConfig& config) {
  if (name == kHead) return config.tie_word_embeddings;
  return name.ends_with(".rotary_emb.inv_freq");
}

bool is_head_of_its_own(const Checkpoint& checkpoint) {
  if (!checkpoint.contains(kHead) || !checkpoint.contains(kEmbedding)) return false;
  const Tensor head = checkpoint.tensor(kHead), embedding = checkpoint.tensor(kEmbedding);
  if (head.sizes() != embedding.sizes()) return true;
  const auto type = torch::promote_types(head.scalar_type(), embedding.scalar_type());
  return !torch::equal(head.to(type), embedding.to(type));
}

/// The tensor that fills a parameter. A tied head alone is the embedding as well.
std::string stored_name(const Checkpoint& checkpoint, const std::string& parameter,
                        const ModelConfig& config) {
  const bool is_head = parameter == kEmbedding && config.tie_word_embeddings &&
                       !checkpoint.contains(kEmbedding) && checkpoint.contains(kHead);
  return is_head ? kHead : parameter;
}

/// The key of config.json that a stray or missing tensor has to do with: " (config.json:
/// num_hidden_layers is 2)".
std::string related_key(const std::string& name, const ModelConfig& config) {
  const auto key = [](std::string_view text, const auto& value) {
    return concat(" (config.json: ", text, " is ", value, ")");
  };
  const auto flag = [&](std::string_view text, bool value) {
    return key(text, value ? "true" : "false");
  };
  constexpr std::string_view kLayers = "model.layers.";
  if (name == kHead) return flag("tie_word_embeddings", config.tie_word_embeddings);
  if (!name.starts_with(kLayers)) return "";
  int64_t layer = -1;
  std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
  if (layer >= config.num_hidden_layers) {
    return key("num_hidden_layers", config.num_hidden_layers);
  }
  if (name.find(".mlp.") != name.npos && name.ends_with(".bias")) return flag("mlp_bias", false);
  if (name.ends_with("o_proj.bias")) {
    const bool has_own_key = config.architecture == Architecture::kHypeNet ||
                             config.architecture == Architecture::kRadlads;
    return flag(has_own_key ? "attention_output_bias" : "attention_bias",
                config.attention_output_bias);
  }
  if (name.ends_with(".bias")) return flag("attention_bias", config.attention_bias);
  if (name.find("q_norm") != name.npos || name.find("k_norm") != name.npos) {
    return key("architectures", config.has_qk_norm ? "one with such norms" : "one without them");
  }
  if (config.architecture > Architecture::kHypeNet) return " (named as docs/formats.md says)";
  return "";
}

/// The type of a parameter where the others have `type`.
torch::ScalarType parameter_type(std::string_view name, const ModelConfig& config,
                                 torch::ScalarType type) {
  return is_float_always(name, config) ? torch::promote_types(type, torch::kFloat32) : type;
}

/// Other numbers than those of floating point are somebody's quantised weights: without their
/// scales they are no weights.
void check_is_floating(const Checkpoint& checkpoint, const std::string& name,
                       torch::ScalarType type) {
  const bool has_numbers = torch::isFloatingType(type) && torch::elementSize(type) > 1;
  HYPENET_CHECK(has_numbers, checkpoint.folder().string(), ": tensor ", name,
                ": expected floating point, found ", type);
}

/// The stored tensor of a parameter.
Tensor stored_weight(const Checkpoint& checkpoint, const std::string& parameter,
                     torch::IntArrayRef shape, const ModelConfig& config) {
  const std::string name = stored_name(checkpoint, parameter, config);
  Tensor stored = checkpoint.tensor(name, shape.vec());
  check_is_floating(checkpoint, name, stored.scalar_type());
  return stored;
}

/// Throws Error where a layer that config.json promises has no tensors at all, before it is made:
/// a number of layers that is mistyped would take long.
void check_layers(const Checkpoint& checkpoint, const ModelConfig& config) {
  constexpr std::string_view kLayers = "model.layers.";
  std::set<int64_t> stored;
  for (const std::string& name : checkpoint.names()) {
    int64_t layer = -1;
    if (!name.starts_with(kLayers)) continue;
    std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
    stored.insert(layer);
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    HYPENET_CHECK(stored.contains(layer), checkpoint.folder().string(), ": tensors ", kLayers,
                  layer, ".*: expected in the checkpoint, found none (",
                  "config.json: num_hidden_layers is ", config.num_hidden_layers, ")");
  }
}

/// Throws Error where the embedding is there in other sizes than config.json's, before matrices of
/// those are made.
void check_embedding(const Checkpoint& checkpoint, const ModelConfig& config) {
  const std::string name = stored_name(checkpoint, kEmbedding, config);
  if (!checkpoint.contains(name)) return;
  checkpoint.facts(name, std::vector<int64_t>{config.vocab_size, config.hidden_size});
}

void check_names(const Checkpoint& checkpoint, const CausalLmImpl& model) {
  const ModelConfig& config = model.config();
  std::set<std::string> known;
  for (const auto& parameter : model.named_parameters()) {
    const std::string name = stored_name(checkpoint, parameter.key(), config);
    known.insert(name);
    HYPENET_CHECK(checkpoint.contains(name), checkpoint.folder().string(), ": tensor ", name,
                  ": expected in the checkpoint, found none", related_key(name, config));
  }
  for (const std::string& name : checkpoint.names()) {
    HYPENET_CHECK(known.contains(name) || is_redundant(name, config), checkpoint.folder().string(),
                  ": tensor ", name,
                  ": expected only tensors of the model that config.json describes, found this one "
                  "as well",
                  related_key(name, config));
  }
}

/// A model of these sizes without numbers, which the folder has all tensors of.
CausalLm unfilled_model(const Checkpoint& checkpoint, const ModelConfig& config) {
  check_layers(checkpoint, config);
  check_embedding(checkpoint, config);
  CausalLm model(config, false);
  check_names(checkpoint, *model);
  return model;
}

/// A parameter whose weight is read elsewhere: whoever reads it by mistake gets NaN.
Tensor no_content(const std::vector<int64_t>& shape) {
  return torch::full({1, 1}, NAN, torch::kBFloat16).expand(shape);
}

/// In which type a tensor is held that products do not read as it is stored.
torch::ScalarType type_beside_packed(const TensorFacts& facts) {
  const torch::ScalarType type = stored_type(facts);
  return type == torch::kFloat16 ? torch::kFloat32 : type;
}

}  // namespace

bool is_mixers_own(std::string_view name) {
  constexpr std::string_view kMixer = ".self_attn.";
  const size_t place = name.find(kMixer);
  return place != name.npos && name.find('.', place + kMixer.size()) == name.npos;
}

bool is_float_always(std::string_view name, const ModelConfig& config) {
  return is_mixers_own(name) || (config.has_float_norms && name.ends_with("norm.weight"));
}

ModelConfig read_model_config(const Checkpoint& checkpoint, const TellNote& tell) {
  const std::string place = checkpoint.config_place();
  ModelConfig config = parse_model_config(checkpoint.config(), place, checkpoint.names());
  for (const std::string& text : tell ? checkpoint.notes() : std::vector<std::string>()) tell(text);
  if (!config.tie_word_embeddings || !is_head_of_its_own(checkpoint)) return config;
  config.tie_word_embeddings = false;
  if (tell) {
    tell(concat(place, ": tie_word_embeddings is true, but ", kHead, " differs from ", kEmbedding,
                ": the stored head is used"));
  }
  return config;
}

void check_tensors(const Checkpoint& checkpoint, const ModelConfig& config) {
  check_layers(checkpoint, config);
  check_embedding(checkpoint, config);
  const CausalLm model(config, /*random_weights=*/false);
  check_names(checkpoint, *model);
  for (const auto& parameter : model->named_parameters()) {
    const std::string name = stored_name(checkpoint, parameter.key(), config);
    const auto shape = parameter.value().sizes().vec();
    check_is_floating(checkpoint, name, checkpoint.facts(name, shape).type);
  }
}

torch::ScalarType stored_type(const TensorFacts& facts) {
  return facts.is_packed() ? torch::kBFloat16 : facts.type;
}

torch::ScalarType stored_type(const Checkpoint& checkpoint) {
  std::map<torch::ScalarType, size_t> bytes;
  for (const std::string& name : checkpoint.names()) {
    const TensorFacts facts = checkpoint.facts(name);
    const torch::ScalarType type = stored_type(facts);
    if (!torch::isFloatingType(type)) continue;
    bytes[type] += c10::multiply_integers(facts.shape) * torch::elementSize(type);
  }
  HYPENET_CHECK(!bytes.empty(), checkpoint.folder().string(),
                ": expected weights of floating point, found none");
  return std::ranges::max_element(bytes, {}, [](const auto& item) { return item.second; })->first;
}

Checkpoint open_rounded(const std::filesystem::path& folder) {
  Checkpoint checkpoint(folder);
  // Float16 beside codes is what other programs compute in; no stage of a conversion does.
  const bool is_quantised = !checkpoint.quantisation_method().empty();
  checkpoint.expand_as(is_quantised ? torch::kBFloat16 : stored_type(checkpoint));
  return checkpoint;
}

CausalLm load_model(const Checkpoint& checkpoint, std::optional<torch::ScalarType> type,
                    torch::Device device) {
  return load_model(checkpoint, read_model_config(checkpoint), type, device);
}

CausalLm load_model(const Checkpoint& checkpoint, const ModelConfig& config,
                    std::optional<torch::ScalarType> type, torch::Device device) {
  CausalLm model = unfilled_model(checkpoint, config);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    const Tensor stored =
        stored_weight(checkpoint, parameter.key(), parameter.value().sizes(), config);
    const auto own = parameter_type(parameter.key(), config, type.value_or(stored.scalar_type()));
    // A copy in any case: the stored tensor is a view of a read-only mapping.
    parameter.value().set_data(stored.to(device, own, false, true));
  }
  return model;
}

void copy_weights(const Checkpoint& checkpoint, CausalLm& model) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    Tensor& to = parameter.value();
    to.copy_(stored_weight(checkpoint, parameter.key(), to.sizes(), model->config()));
  }
}

bool has_packed_weights(const Checkpoint& checkpoint) {
  const std::vector<std::string> names = checkpoint.names();
  return std::ranges::any_of(names,
                             [&](const auto& name) { return is_packable(checkpoint, name); });
}

CausalLm load_packed_model(const Checkpoint& checkpoint, const ModelConfig& config,
                           Activations activations) {
  CausalLm model = unfilled_model(checkpoint, config);
  const torch::NoGradGuard no_grad;
  PackedMemory memory;
  std::map<std::string, Weight*> matrices;
  for (const ModelMatrix& matrix : model->matrices()) matrices[matrix.name] = matrix.weight;
  for (auto& parameter : model->named_parameters()) {
    const std::vector<int64_t> shape = parameter.value().sizes().vec();
    const std::string name = stored_name(checkpoint, parameter.key(), config);
    if (const auto found = matrices.find(parameter.key()); found != matrices.end()) {
      Weight& weight = *found->second;
      weight.packed = packed_weight(checkpoint, name, shape, activations, memory);
      if (weight.packed) {
        parameter.value().set_data(no_content(shape));
        continue;
      }
    }
    const Tensor stored = stored_weight(checkpoint, parameter.key(), shape, config);
    const auto type = type_beside_packed(checkpoint.facts(name));
    const auto own = parameter_type(parameter.key(), config, type);
    parameter.value().set_data(stored.to(torch::kCPU, own, false, true));
  }
  return model;
}

NamedTensors named_weights(CausalLmImpl& model, torch::ScalarType type) {
  NamedTensors weights;
  for (const auto& parameter : model.named_parameters()) {
    const auto own = parameter_type(parameter.key(), model.config(), type);
    weights.emplace_back(parameter.key(), parameter.value().detach().to(own));
  }
  return weights;
}

NamedTensors trainable_parameters(CausalLm& model) {
  NamedTensors parameters;
  for (const auto& item : model->named_parameters()) {
    if (item.value().requires_grad()) parameters.emplace_back(item.key(), item.value());
  }
  return parameters;
}

std::string type_name(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat64:
      return "float64";
    case torch::kFloat32:
      return "float32";
    case torch::kFloat16:
      return "float16";
    case torch::kBFloat16:
      return "bfloat16";
    case torch::kInt64:
      return "int64";
    case torch::kInt32:
      return "int32";
    case torch::kUInt8:
      return "uint8";
    case torch::kInt8:
      return "int8";
    case torch::kFloat8_e4m3fn:
      return "float8";
    case torch::kBool:
      return "bool";
    default:
      return torch::toString(type);
  }
}

}  // namespace hypenet
