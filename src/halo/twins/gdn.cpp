// The teacher's rows, and decays from short to long memory.
#include "halo/twins/gdn.h"

#include <cmath>

#include "model/mixers/gdn.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& gdn = twin.mixers.of<GdnConfig>();
  gdn.nh = gdn.nkv = teacher.num_attention_heads;
  gdn.head_dim = teacher.head_dim;
  gdn.use_gate = gdn.use_qk_norm = gdn.use_rope = true;
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& gdn = twin.mixers.of<GdnConfig>();
  const int64_t D = twin.hidden_size, H = gdn.nh, d = gdn.head_dim;
  from.copy_heads(d, to);
  to.emplace_back(from.name("o_norm.weight"), from.ones(d));
  const auto draw = [&](std::string_view projection, int64_t rows) {
    const double gain = std::exp2(-2.5);
    from.draw(projection, rows, D, gain * std::sqrt(6.0 / static_cast<double>(rows + D)), to);
  };
  draw("g_proj", H * d);
  draw("a_proj", H);
  draw("b_proj", H);
  to.emplace_back(from.name("A_log"), new_log_rates({H}, kLeastGdnRate, from.generator("A_log")));
  to.emplace_back(from.name("dt_bias"),
                  inverse_softplus(new_time_steps({H}, from.generator("dt_bias"))));
}

}  // namespace

const TwinRule kGdnTwin = {&kGdnMixer, configure, transfer};

}  // namespace hypenet
