// The table of mixers.
#include "model/mixers/token_mixer.h"

#include "model/mixers/attention.h"
#include "model/mixers/lightning.h"

namespace hypenet {

std::shared_ptr<TokenMixer> make_mixer(const ModelConfig& config, MixerType type) {
  switch (type) {
    case MixerType::kAttention:
      return std::make_shared<AttentionMixer>(config);
    case MixerType::kLightning:
      return std::make_shared<LightningMixer>(config);
  }
  throw Error("make_mixer: unknown mixer type");
}

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.unflatten(-1, {heads, x.size(-1) / heads});
}

Tensor norm_and_rotate(const Tensor& x, const RmsNorm& norm, bool rotates,
                       const RopeAngles& angles) {
  if (norm) return rotates ? norm->rotated(x, angles) : norm->forward(x);
  return rotates ? apply_rope(x, angles) : x;
}

}  // namespace hypenet
