// No arithmetic of ours is float16's; float32 holds its numbers as they are.
#include "engine/open.h"

#include <set>
#include <string>

#include "base/error.h"
#include "base/join.h"
#include "engine/runner.h"
#include "model/weights.h"

namespace hypenet {
namespace {

/// Whether every number of the type stays what it is in the other.
bool is_exact_in(torch::ScalarType type, torch::ScalarType other) {
  return torch::promote_types(type, other) == other;
}

/// How the files of some weights are rounded; weights of a GPU that are wider than
/// its bfloat16 are what ModelSpec::type says.
void tell_rounding(const Checkpoint& checkpoint, const ModelConfig& config, torch::ScalarType type,
                   bool is_cuda, const TellNote& tell) {
  std::set<std::string> types;
  int64_t count = 0;
  for (const std::string& name : checkpoint.names()) {
    if (name.ends_with(".inv_freq") || is_float_always(name, config))
      continue;  // not read; not rounded
    const TensorFacts facts = checkpoint.facts(name);
    const bool is_wide = facts.type == torch::kFloat16 || facts.is_packed();
    if (is_cuda ? is_wide : !is_exact_in(facts.type, type)) {
      types.insert(facts.is_packed() ? facts.stored : type_name(facts.type));
      ++count;
    }
  }
  if (count == 0) return;
  const std::string widest =
      type_name(types.contains("float64") ? torch::kFloat64 : torch::kFloat32);
  tell(concat(checkpoint.folder().string(), ": ", count, " tensors stored as ", join(types, ", "),
              " are rounded to ", type_name(type), " (--dtype ", widest, " keeps them)"));
}

torch::ScalarType automatic_type(const Checkpoint& checkpoint, torch::Device device) {
  if (device.is_cuda()) return torch::kBFloat16;
  const torch::ScalarType stored = stored_type(checkpoint);
  return stored == torch::kFloat16 ? torch::kFloat32 : stored;
}

/// The model with matrices in few bits, beside which all else is float32.
CausalLm open_packed_model(const Checkpoint& checkpoint, const ModelConfig& config,
                           const ModelSpec& spec) {
  CausalLm model = load_packed_model(checkpoint, config, spec.activations);
  model->prepare({.type = torch::kFloat32, .cache_type = spec.cache_type});
  model->begin_inference();
  return model;
}

}  // namespace

Activations parse_activations(const std::string& text, const std::string& place) {
  HYPENET_CHECK(text == "int8" || text == "float", place, ": expected int8 or float, found ", text);
  return text == "int8" ? Activations::kInt8 : Activations::kFloat;
}

std::optional<torch::ScalarType> parse_cache_type(const std::string& text,
                                                  const std::string& place) {
  if (text == "auto") return std::nullopt;
  HYPENET_CHECK(text == "float32" || text == "bfloat16", place,
                ": expected auto, float32 or bfloat16, found ", text);
  return text == "float32" ? torch::kFloat32 : torch::kBFloat16;
}

ModelConfig open_config(const Checkpoint& checkpoint, const ModelSpec& spec, const TellNote& tell) {
  ModelConfig config = read_model_config(checkpoint, tell);
  if (spec.attn_logits_scaling) config.attn_logits_scaling = *spec.attn_logits_scaling;
  return config;
}

CausalLm open_model(const Checkpoint& checkpoint, const ModelSpec& spec, const TellNote& tell) {
  const ModelConfig config = open_config(checkpoint, spec, tell);
  if (spec.device.is_cpu() && !spec.type && has_packed_weights(checkpoint)) {
    return open_packed_model(checkpoint, config, spec);
  }
  const torch::ScalarType type = spec.type ? *spec.type : automatic_type(checkpoint, spec.device);
  const bool is_cuda = spec.device.is_cuda();
  if (!spec.type && tell) tell_rounding(checkpoint, config, type, is_cuda, tell);
  CausalLm model = load_model(checkpoint, config, type, spec.device);
  model->prepare({.type = type == torch::kBFloat16 && !is_cuda ? torch::kFloat32 : type,
                  .cache_type = is_cuda ? std::nullopt : spec.cache_type});
  model->begin_inference();
  const auto why = why_no_step_kernels(model);
  if (is_cuda && why && tell) {
    tell(concat(checkpoint.folder().string(),
                ": answers are decoded by tensor code, slowly: ", *why));
  }
  return model;
}

Engine open_engine(const std::filesystem::path& folder, const ModelSpec& spec,
                   const EngineOptions& options, const TellNote& tell) {
  return Engine(open_model(Checkpoint(folder), spec, tell), options);
}

}  // namespace hypenet
