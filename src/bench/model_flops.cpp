// Counting, layer by layer.
#include "bench/model_flops.h"

#include <map>

#include "model/mixers/mixer_kind.h"

namespace hypenet {
namespace {

enum class Backward { kNone, kWeights, kAll };

/// The parts of one model's layers; backward as far as the stage needs it.
std::vector<FlopsPart> layer_flops(const std::string& name, const ModelConfig& config,
                                   double context, Backward backward) {
  FlopsPart projections{name + " mixer projections"}, mlp{name + " MLP"};
  std::map<const MixerKind*, FlopsPart> mixing;
  const bool trains = backward != Backward::kNone;
  for (const MixerKind* kind : config.mixer_types) {
    const MixerWork work = kind->work(config, context);
    projections.forward += 2 * (work.input_weights + work.output_weights);
    FlopsPart& own = mixing[kind];
    own.name = concat(name, " ", kind->title);
    own.forward += work.forward;
    if (trains) {
      const double to_input = backward == Backward::kAll ? 4 : 2;
      projections.backward += to_input * work.input_weights + 4 * work.output_weights;
      own.backward += work.backward;
    }
    const bool is_gated = config.blocks.feed_forward == BlockForm::FeedForward::kSwiglu;
    mlp.forward +=
        (is_gated ? 6 : 4) * static_cast<double>(config.hidden_size * config.intermediate_size);
  }
  if (trains) mlp.backward = 2 * mlp.forward;
  std::vector<FlopsPart> parts = {projections};
  for (const MixerKind* kind : mixer_kinds()) {
    if (mixing.contains(kind)) parts.push_back(mixing.at(kind));
  }
  if (backward != Backward::kWeights) parts.push_back(mlp);  // a twin is a mixer alone
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
