// Counting, layer by layer.
#include "bench/model_flops.h"

#include <algorithm>

namespace hypenet {
namespace {

constexpr double kChunk = 64;  // tokens of a chunk of lightning attention

/// Weights that a token meets in one mixer.
struct MixerWeights {
  double inputs = 0;  // of q, k, v and the gate, which read the mixer's input
  double output = 0;  // of o_proj
};

MixerWeights mixer_weights(const ModelConfig& config, MixerType type) {
  const auto D = static_cast<double>(config.hidden_size);
  if (type == MixerType::kLightning) {
    const auto d = static_cast<double>(config.lightning_head_dim);
    const double wide = static_cast<double>(config.lightning_nh) * d;
    const double narrow = static_cast<double>(config.lightning_nkv) * d;
    const double gate = config.lightning_use_output_gate ? wide : 0;
    return {D * (wide + 2 * narrow + gate), D * wide};
  }
  const auto d = static_cast<double>(config.head_dim);
  const double wide = static_cast<double>(config.num_attention_heads) * d;
  const double narrow = static_cast<double>(config.num_key_value_heads) * d;
  const double gate = config.attn_use_output_gate ? wide : 0;
  return {D * (wide + 2 * narrow + gate), D * wide};
}

double attention_forward(const ModelConfig& config, double context) {
  return 2 * static_cast<double>(config.num_attention_heads * config.head_dim) * context;
}

/// Forward, and forward with backward, of one head: 4 and 14 times C d + d^2.
double lightning_unit(const ModelConfig& config, double context) {
  const auto d = static_cast<double>(config.lightning_head_dim);
  return static_cast<double>(config.lightning_nh) * (std::min<double>(kChunk, context) * d + d * d);
}

enum class Backward { kNone, kWeights, kAll };

/// The parts of one model's layers; backward as far as the stage needs it.
std::vector<FlopsPart> layer_flops(const std::string& name, const ModelConfig& config,
                                   double context, Backward backward) {
  FlopsPart projections{name + " mixer projections"}, attention{name + " attention"};
  FlopsPart lightning{name + " lightning attention"}, mlp{name + " MLP"};
  const bool trains = backward != Backward::kNone;
  for (const MixerType type : config.mixer_types) {
    const MixerWeights weights = mixer_weights(config, type);
    projections.forward += 2 * (weights.inputs + weights.output);
    if (trains) {
      const double to_input = backward == Backward::kAll ? 4 : 2;
      projections.backward += to_input * weights.inputs + 4 * weights.output;
    }
    if (type == MixerType::kLightning) {
      lightning.forward += 4 * lightning_unit(config, context);
      if (trains) lightning.backward += 10 * lightning_unit(config, context);
    } else {
      attention.forward += attention_forward(config, context);
      if (trains) attention.backward += 2 * attention_forward(config, context);
    }
    mlp.forward += 6 * static_cast<double>(config.hidden_size * config.intermediate_size);
  }
  if (trains) mlp.backward = 2 * mlp.forward;
  std::vector<FlopsPart> parts = {projections, attention, lightning};
  if (backward != Backward::kWeights) parts.push_back(mlp);  // a twin is a mixer alone
  std::erase_if(parts, [](const FlopsPart& part) { return part.sum() == 0; });
  return parts;
}

FlopsPart head_flops(const std::string& name, const ModelConfig& config, Backward backward) {
  const double forward = 2 * static_cast<double>(config.hidden_size * config.vocab_size);
  return {name + " head", forward, backward == Backward::kAll ? 2 * forward : 0};
}

void append(std::vector<FlopsPart>& parts, const std::vector<FlopsPart>& more) {
  parts.insert(parts.end(), more.begin(), more.end());
}

}  // namespace

std::vector<FlopsPart> training_flops(const ModelConfig& teacher, const ModelConfig& student,
                                      int stage, int64_t context) {
  const auto T = static_cast<double>(context);
  std::vector<FlopsPart> parts;
  if (stage < 3) append(parts, layer_flops("teacher", teacher, T, Backward::kNone));
  if (stage == 1) {
    // No twin comes after the last mixer, so the last MLP does not run.
    const auto L = static_cast<double>(teacher.num_hidden_layers);
    for (FlopsPart& part : parts) {
      if (part.name == "teacher MLP") part.forward *= (L - 1) / L;
    }
    append(parts, layer_flops("twin", student, T, Backward::kWeights));
    return parts;
  }
  if (stage == 2) parts.push_back(head_flops("teacher", teacher, Backward::kNone));
  append(parts, layer_flops("student", student, T, Backward::kAll));
  parts.push_back(head_flops("student", student, Backward::kAll));
  return parts;
}

std::vector<FlopsPart> prefill_flops(const ModelConfig& config, int64_t context) {
  return layer_flops("model", config, static_cast<double>(context), Backward::kNone);
}

double total_flops(const std::vector<FlopsPart>& parts) {
  double sum = 0;
  for (const FlopsPart& part : parts) sum += part.sum();
  return sum;
}

}  // namespace hypenet
