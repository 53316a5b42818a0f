// Looking a kind up.
#include "model/mixers/mixer_kind.h"

#include <algorithm>

#include "base/alternatives.h"

namespace hypenet {

const MixerKind* mixer_kind(std::string_view name, const std::string& place) {
  std::string found(name);
  std::ranges::replace(found, '_', '-');  // published folders have lightning_attn as well
  std::vector<std::string> names;
  for (const MixerKind* kind : mixer_kinds()) {
    if (kind->name == found) return kind;
    names.push_back(concat('"', kind->name, '"'));
  }
  throw Error(concat(place, ": expected ", alternatives(names), ", found \"", name, "\""));
}

const MixerKind* kind_across_layers(const ModelConfig& config) {
  for (const MixerKind* kind : kinds_of(config)) {
    if (kind->crosses_layers && kind->crosses_layers(config)) return kind;
  }
  return nullptr;
}

void check_rotated(const ModelConfig& config, const std::string& place, const char* key,
                   int64_t size) {
  HYPENET_CHECK(size % 2 == 0, place, ": ", key, ": expected an even size (RoPE), found ", size);
  HYPENET_CHECK(!config.attn_use_rope || size == config.head_dim, place, ": ", key,
                ": expected head_dim ", config.head_dim,
                " (both kinds of layers have RoPE), found ", size);
}

MixerWork projection_work(const ModelConfig& config, int64_t heads, int64_t key_heads,
                          int64_t head_dim, bool has_gate) {
  const auto D = static_cast<double>(config.hidden_size);
  const double wide = static_cast<double>(heads * head_dim);
  const double narrow = static_cast<double>(key_heads * head_dim);
  return {.input_weights = D * (wide + 2 * narrow + (has_gate ? wide : 0)),
          .output_weights = D * wide};
}

}  // namespace hypenet
