// Llama 3's scaling, in terms of how many turns a frequency makes in the original context; and
// heads of which RoPE turns a part: the pairs that do not turn have frequency 0.
#include "model/rope.h"

#include <algorithm>
#include <numbers>

#include "model/mixers/mixer_kind.h"
#include "ops/rope.h"

namespace hypenet {
namespace {

Tensor scale_as_llama3(const Tensor& frequencies, const Llama3RopeScaling& scaling) {
  const double length = static_cast<double>(scaling.original_max_position_embeddings);
  const Tensor turns = length * frequencies / (2 * std::numbers::pi);  // in the original context
  // 0 where fewer than low_freq_factor turns fit, 1 where more than high_freq_factor do.
  const Tensor kept =
      ((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor))
          .clamp(0, 1);
  return kept * frequencies + (1 - kept) * frequencies / scaling.factor;
}

}  // namespace

Tensor model_rope_frequencies(const ModelConfig& config) {
  int64_t d = 0;  // all kinds that turn have heads of one size
  for (const MixerKind* kind : kinds_of(config)) d = std::max(d, kind->rope_size(config));
  if (d == 0) d = config.head_dim;
  const int64_t turned = config.turned_size > 0 ? config.turned_size : d;
  const Tensor frequencies =
      torch::constant_pad_nd(rope_frequencies(turned, config.rope_theta), {0, (d - turned) / 2});
  return config.rope_scaling ? scale_as_llama3(frequencies, *config.rope_scaling) : frequencies;
}

}  // namespace hypenet
