// Low-rank parts are float32, as all that a mixer registers itself.
#include "halo/twins/rwkv7.h"

#include "model/mixers/rwkv7.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& rwkv = twin.mixers.of<Rwkv7Config>();
  rwkv.num_heads = teacher.num_attention_heads;
  rwkv.num_key_value_heads = teacher.num_key_value_heads;
  rwkv.head_size = teacher.head_dim;
  rwkv.use_qk_norm = teacher.has_qk_norm;
  rwkv.use_ranks_of(teacher.hidden_size);
}

/// [rows, columns], the shorter ones of length 1 and orthogonal to each other.
Tensor orthogonal(int64_t rows, int64_t columns, const torch::Generator& generator) {
  const int64_t most = std::max(rows, columns), least = std::min(rows, columns);
  const Tensor basis =
      std::get<0>(torch::linalg_qr(torch::randn({most, least}, generator, torch::kFloat32)));
  return rows == most ? basis : basis.t().contiguous();
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& rwkv = twin.mixers.of<Rwkv7Config>();
  const int64_t D = twin.hidden_size, N = rwkv.head_size, wide = rwkv.num_heads * N;
  for (const char* projection : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    from.copy(projection, to);
  }
  if (rwkv.use_qk_norm) from.copy_norm("q_norm", N, to), from.copy_norm("k_norm", N, to);
  const auto low_rank = [&](const char* first, const char* second, int64_t rank) {
    to.emplace_back(from.name(first), torch::zeros({D, rank}));
    to.emplace_back(from.name(second), 0.1 * orthogonal(rank, wide, from.generator(second)));
  };
  low_rank("w1", "w2", rwkv.lora_rank_decay);
  low_rank("a1", "a2", rwkv.lora_rank_iclr);
  low_rank("g1", "g2", rwkv.lora_rank_gate);
  Tensor& g2 = to.back().second;
  g2 = g2 + (2 - g2.sum(0)) / rwkv.lora_rank_gate;
  const int64_t last = std::max<int64_t>(twin.num_hidden_layers - 1, 1);
  const double depth = static_cast<double>(from.layer()) / static_cast<double>(last);
  const auto channels = [&](const char* name, const Tensor& start) {
    to.emplace_back(from.name(name), start.view({1, 1, wide}));
  };
  channels("w0", new_rwkv7_decays(wide, depth));
  channels("a0", torch::zeros({wide}));
  channels("k_k", torch::full({wide}, 0.85));
  channels("k_a", torch::ones({wide}));
  to.emplace_back(from.name("ln_x.weight"), from.ones(wide));
  to.emplace_back(from.name("ln_x.bias"), torch::zeros({wide}, from.type()));
}

}  // namespace

const TwinRule kRwkv7Twin = {&kRwkv7Mixer, configure, transfer};

}  // namespace hypenet
