// Rows of one projection, and a start that lets the teacher's heads through.
#include "halo/twins/mamba2.h"

#include <cmath>

#include "model/mixers/mamba2.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& mamba = twin.mixers.of<Mamba2Config>();
  mamba.num_heads = teacher.num_attention_heads;
  mamba.num_key_value_heads = teacher.num_key_value_heads;
  mamba.head_dim = teacher.head_dim;
  mamba.conv_init = "identity";
  mamba.use_qk_norm = teacher.has_qk_norm;
  mamba.use_rope = mamba.use_z_bias = true;
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& mamba = twin.mixers.of<Mamba2Config>();
  const int64_t D = twin.hidden_size, H = mamba.num_heads, wide = mamba.inner();
  const auto zeros = [&](torch::IntArrayRef shape) { return torch::zeros(shape, from.type()); };
  const Tensor heads = from.stacked({"v_proj", "k_proj", "q_proj"}, ".weight");
  const Tensor steps = from.drawn("dt", H, D, 1 / std::sqrt(static_cast<double>(D)));
  to.emplace_back(from.name("in_proj.weight"), torch::cat({zeros({wide, D}), heads, steps}));
  const Tensor bias = from.stacked({"v_proj", "k_proj", "q_proj"}, ".bias");
  if (bias.defined()) {
    to.emplace_back(from.name("in_proj.bias"), torch::cat({zeros({wide}), bias, zeros({H})}));
  }
  for (const char* part : {".weight", ".bias"}) {
    const Tensor given = from.tensor(concat("o_proj", part));
    if (given.defined()) to.emplace_back(from.name(concat("out_proj", part)), given);
  }
  if (mamba.use_qk_norm) {
    from.copy_norm("q_norm", mamba.head_dim, to);
    from.copy_norm("k_norm", mamba.head_dim, to);
  }
  const Tensor taps = zeros({mamba.channels(), 1, mamba.conv_kernel});
  taps.select(2, mamba.conv_kernel - 1).fill_(1);
  to.emplace_back(from.name("conv1d.weight"), taps);
  to.emplace_back(from.name("conv1d.bias"), zeros({mamba.channels()}));
  to.emplace_back(from.name("norm.weight"), from.ones(wide));
  to.emplace_back(from.name("z_bias"), torch::full({wide}, kOpenSilu, torch::kFloat32));
  to.emplace_back(from.name("D"), torch::zeros({H}));
  to.emplace_back(from.name("A_log"),
                  new_log_rates({H}, kLeastMamba2Rate, from.generator("A_log")));
  to.emplace_back(from.name("dt_bias"),
                  inverse_softplus(new_time_steps({H}, from.generator("dt_bias"))));
}

}  // namespace

const TwinRule kMamba2Twin = {&kMamba2Mixer, configure, transfer};

}  // namespace hypenet
