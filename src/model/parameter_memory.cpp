// Matrices are counted as the mixers' work names them.
#include "model/parameter_memory.h"

#include <algorithm>

#include "base/host_memory.h"
#include "base/readable_bytes.h"
#include "model/mixers/mixer_kind.h"

namespace hypenet {
namespace {

constexpr double kFloatBytes = 4;

double embedding_bytes(const ModelConfig& config) {
  return kFloatBytes * static_cast<double>(config.vocab_size) *
         static_cast<double>(config.hidden_size);
}

/// Of one matrix of the MLP.
double mlp_bytes(const ModelConfig& config) {
  return kFloatBytes * static_cast<double>(config.intermediate_size) *
         static_cast<double>(config.hidden_size);
}

double mixer_bytes(const ModelConfig& config, const MixerKind& kind) {
  const MixerWork work = kind.work(config, 1);
  return kFloatBytes * (work.input_weights + work.output_weights);
}

/// What is asked of the system at once; a mixer has several matrices.
double largest_bytes(const ModelConfig& config) {
  double largest = std::max(embedding_bytes(config), mlp_bytes(config));
  for (const MixerKind* kind : kinds_of(config)) {
    const double wide = kFloatBytes * kind->work(config, 1).output_weights;
    largest = std::max(largest, wide);
  }
  return largest;
}

}  // namespace

double parameter_bytes(const ModelConfig& config) {
  double bytes = embedding_bytes(config) * (config.tie_word_embeddings ? 1 : 2);
  for (const MixerKind* kind : config.mixer_types) {
    bytes += 3 * mlp_bytes(config) + mixer_bytes(config, *kind);
  }
  return bytes;
}

void check_parameters_fit(const ModelConfig& config, bool are_filled) {
  const int64_t free = available_memory();
  const double needed = are_filled ? parameter_bytes(config) : largest_bytes(config);
  constexpr double kMostTold = 1e18;  // what int64 holds
  HYPENET_CHECK(needed <= static_cast<double>(free), "model: expected ",
                are_filled ? "parameters" : "matrices", " that fit into ", readable_bytes(free),
                " of free memory, found ", are_filled ? "" : "one of ",
                needed > kMostTold ? "more than " : "",
                readable_bytes(static_cast<int64_t>(std::min(needed, kMostTold))), " (hidden_size ",
                config.hidden_size, ", intermediate_size ", config.intermediate_size,
                ", vocab_size ", config.vocab_size, ", num_hidden_layers ",
                config.num_hidden_layers, ", num_attention_heads ", config.num_attention_heads,
                ", head_dim ", config.head_dim, ")");
}

}  // namespace hypenet
