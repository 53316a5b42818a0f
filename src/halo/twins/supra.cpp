// Rows of one projection; nothing is drawn.
#include "halo/twins/supra.h"

#include "model/mixers/supra.h"

namespace hypenet {
namespace {

void configure(const ModelConfig& teacher, ModelConfig& twin) {
  auto& supra = twin.mixers.of<SupraConfig>();
  supra.n_heads = teacher.num_attention_heads, supra.n_heads_kv = teacher.num_key_value_heads;
  supra.qk_head_dim = teacher.head_dim;
}

void transfer(const TeacherAttention& from, const ModelConfig& twin, NamedTensors& to) {
  const auto& supra = twin.mixers.of<SupraConfig>();
  for (const char* part : {".weight", ".bias"}) {
    const Tensor rows = from.stacked({"q_proj", "k_proj", "v_proj"}, part);
    if (rows.defined()) to.emplace_back(from.name(concat("in_proj", part)), rows);
    const Tensor out = from.tensor(concat("o_proj", part));
    if (out.defined()) to.emplace_back(from.name(concat("out_proj", part)), out);
  }
  const auto map = [&](const char* name, int64_t heads) {
    const int64_t size = heads * supra.qk_head_dim;
    to.emplace_back(from.name(concat(name, ".weight")), torch::eye(size, from.type()));
    to.emplace_back(from.name(concat(name, ".bias")), torch::zeros({size}, from.type()));
  };
  map("_totrain_embed", supra.n_heads);
  if (supra.n_heads_kv < supra.n_heads) map("_totrain_embed_kv", supra.n_heads_kv);
}

}  // namespace

const TwinRule kSupraTwin = {&kSupraMixer, configure, transfer};

}  // namespace hypenet
