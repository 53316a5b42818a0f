// As Gated DeltaNet's, with a decay and a time step a channel.
#include "halo/twins/kda.h"

#include <cmath>

#include "model/mixers/kda.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& kda = twin.mixers.of<KdaConfig>();
  kda.num_heads = teacher.num_attention_heads, kda.head_dim = teacher.head_dim;
  kda.use_qk_norm = kda.use_rope = true;
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& kda = twin.mixers.of<KdaConfig>();
  const int64_t D = twin.hidden_size, H = kda.num_heads, d = kda.head_dim;
  from.copy_heads(d, to);
  to.emplace_back(from.name("o_norm.weight"), from.ones(d));
  const auto draw = [&](std::string_view projection, int64_t rows, int64_t columns) {
    from.draw(projection, rows, columns, 1 / std::sqrt(static_cast<double>(columns)), to);
  };
  draw("b_proj", H, D);
  for (const std::string_view gate : {"f", "g"}) {
    draw(concat(gate, "_a_proj"), d, D);
    draw(concat(gate, "_b_proj"), H * d, d);
  }
  to.emplace_back(from.name("A_log"),
                  new_log_rates({1, 1, H, 1}, kLeastKdaRate, from.generator("A_log")));
  to.emplace_back(from.name("dt_bias"),
                  inverse_softplus(new_time_steps({H * d}, from.generator("dt_bias"))));
}

}  // namespace

const TwinRule kKdaTwin = {&kKdaMixer, configure, transfer};

}  // namespace hypenet
