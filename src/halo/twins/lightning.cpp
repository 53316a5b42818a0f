// Names and shapes, no arithmetic.
#include "halo/twins/lightning.h"

#include "model/mixers/lightning.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& lightning = twin.mixers.of<LightningConfig>();
  lightning.nh = lightning.nkv = teacher.num_attention_heads;
  lightning.head_dim = teacher.head_dim;
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& lightning = twin.mixers.of<LightningConfig>();
  const int64_t d = lightning.head_dim, wide = lightning.nh * d;
  from.copy_heads(d, to);
  to.emplace_back(from.name("o_norm.weight"), from.ones(wide));
  to.emplace_back(from.name("z_proj.weight"), from.new_gate(wide));
}

}  // namespace

const TwinRule kLightningTwin = {&kLightningMixer, configure, transfer};

}  // namespace hypenet
