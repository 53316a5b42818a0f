// Opening a model folder: in which type its weights are held, and in which one it computes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "model/weights.h"

namespace hypenet {

/// How a model folder is opened.
struct ModelSpec {
  /// Of the weights. nullopt: bfloat16 on a GPU; on a CPU those that are stored in few bits stay
  /// packed, and without such all have the type that most bytes of the weights are stored in, but
  /// float32 for float16.
  std::optional<torch::ScalarType> type = {};
  torch::Device device = torch::kCPU;
  std::optional<LogitsScaling> attn_logits_scaling = {};  // nullopt: as config.json says
  Activations activations = Activations::kInt8;           // of packed weights
  /// Of keys and values, float32 or bfloat16, on a CPU. nullopt: bfloat16 where weights are or are
  /// packed, else that of computing.
  std::optional<torch::ScalarType> cache_type = {};
};

/// "int8" or "float"; Error, beginning with `place`, for other texts.
Activations parse_activations(const std::string& text, const std::string& place);

/// "float32" or "bfloat16", and nullopt for "auto"; likewise.
std::optional<torch::ScalarType> parse_cache_type(const std::string& text,
                                                  const std::string& place);

/// The folder's config, but for what `spec` says otherwise. `tell` hears of a head that config.json
/// ties in vain.
ModelConfig open_config(const Checkpoint& checkpoint, const ModelSpec& spec,
                        const TellNote& tell = {});

/// The model of the folder, its parameters of the type and on the device asked for. So is its
/// arithmetic, but for float32 beside bfloat16 weights on a CPU. Its config() is open_config's.
/// `tell` also hears of weights that are rounded because no type was asked for,
/// and of steps that no kernel of a GPU runs.
CausalLm open_model(const Checkpoint& checkpoint, const ModelSpec& spec, const TellNote& tell = {});

/// The same as an engine, ready to run.
Engine open_engine(const std::filesystem::path& folder, const ModelSpec& spec = {},
                   const EngineOptions& options = {}, const TellNote& tell = {});

}  // namespace hypenet
