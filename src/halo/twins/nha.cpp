// Slots are told apart by what the keys are told apart by.
#include "halo/twins/nha.h"

#include <numeric>

#include "model/mixers/nha.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& nha = twin.mixers.of<NhaConfig>();
  nha.num_heads = teacher.num_attention_heads;
  nha.num_key_value_heads = teacher.num_key_value_heads;
  nha.head_dim = teacher.head_dim;
  nha.num_slots = std::gcd(nha.num_slots, teacher.head_dim);
  nha.use_qk_norm = teacher.has_qk_norm;
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& nha = twin.mixers.of<NhaConfig>();
  for (const char* projection : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    from.copy(projection, to);
  }
  if (nha.use_qk_norm) {
    from.copy_norm("q_norm", nha.head_dim, to);
    from.copy_norm("k_norm", nha.head_dim, to);
  }
  const int64_t slots = nha.num_key_value_heads * nha.num_slots;
  const Tensor keys = from.tensor("k_proj.weight").to(torch::kFloat32);
  to.emplace_back(from.name("g_proj.weight"),
                  keys.unflatten(0, {slots, -1}).mean(1).to(from.type()));
}

}  // namespace

const TwinRule kNhaTwin = {&kNhaMixer, configure, transfer};

}  // namespace hypenet
