// Names are changed by their endings; fused tensors are cut into what the mixers multiply by.
#include "store/published_names.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "store/recurrent_names.h"

namespace hypenet {
namespace {

using Parts = NamedParts;

constexpr std::string_view kMixer = ".self_attn.";

/// A size of config.json, 0 where there is none that a model has.
int64_t size_of(const Json& config, const char* key) {
  constexpr int64_t kMost = int64_t{1} << 20;
  if (!config.contains(key) || !config.at(key).is_number_integer()) return 0;
  const auto size = config.at(key).get<int64_t>();
  return size > 0 && size <= kMost ? size : 0;
}

std::string architecture_of(const Json& config) {
  if (!config.is_object() || !config.contains("architectures")) return "";
  const Json& names = config.at("architectures");
  return names.is_array() && !names.empty() && names[0].is_string() ? names[0].get<std::string>()
                                                                    : "";
}

/// "model.layers.3.linear_attn.A_log" -> {"model.layers.3", "A_log"}; nothing in front without
/// `module`.
std::pair<std::string, std::string> parted(const std::string& name, std::string_view module) {
  const size_t at = name.find(module);
  if (at == name.npos) return {"", ""};
  return {name.substr(0, at), name.substr(at + module.size())};
}

/// The parameters of Qwen3-Next and Qwen3.5.
class QwenNames {
 public:
  explicit QwenNames(const Json& config)
      : head_size_(size_of(config, "head_dim")),
        turned_size_(turned_size_of(config)),
        heads_(size_of(config, "num_attention_heads")),
        key_heads_(size_of(config, "linear_num_key_heads")),
        key_size_(size_of(config, "linear_key_head_dim")) {
    const int64_t value_heads = size_of(config, "linear_num_value_heads");
    group_ = key_heads_ > 0 ? value_heads / key_heads_ : 0;
    group_values_ = group_ * size_of(config, "linear_value_head_dim");
  }

  Parts parts_of(const std::string& stored) const {
    constexpr std::string_view kText = "model.language_model.";
    const bool is_nested = stored.starts_with(kText);
    const std::string name = is_nested ? "model." + stored.substr(kText.size()) : stored;
    if (const auto [layer, tensor] = parted(name, ".linear_attn."); !layer.empty()) {
      return of_delta_rule(layer + std::string(kMixer), tensor);
    }
    if (const auto [layer, tensor] = parted(name, kMixer); !layer.empty()) {
      return of_attention(layer + std::string(kMixer), tensor);
    }
    return {{name, {.is_offset = name.ends_with("norm.weight")}}};
  }

 private:
  Parts of_attention(const std::string& mixer, const std::string& tensor) const {
    StoredPart heads{.head_size = head_size_, .turned_size = turned_size_};
    if (tensor == "q_proj.weight") {  // of each head the query, then the gate
      StoredPart query = heads;
      query.groups = heads_, query.group_rows = 2 * head_size_, query.rows = head_size_;
      StoredPart gate = query;
      gate.first = head_size_, gate.head_size = 0;
      return {{mixer + "q_proj.weight", query}, {mixer + "o_gate.weight", gate}};
    }
    heads.is_offset = tensor.ends_with("norm.weight");
    const bool turns = tensor == "k_proj.weight" || heads.is_offset;
    return {{mixer + tensor, turns ? heads : StoredPart()}};
  }

  Parts of_delta_rule(const std::string& mixer, const std::string& tensor) const {
    const int64_t keys = key_heads_ * key_size_, values = key_heads_ * group_values_;
    if (tensor == "in_proj_qkv.weight" || tensor == "conv1d.weight") {
      const std::string end = tensor == "conv1d.weight" ? "_conv1d.weight" : "_proj.weight";
      return cut(mixer, 1, {{"q" + end, keys}, {"k" + end, keys}, {"v" + end, values}});
    }
    if (tensor == "in_proj_qkvz.weight") {
      return cut(mixer, key_heads_,
                 {{"q_proj.weight", key_size_},
                  {"k_proj.weight", key_size_},
                  {"v_proj.weight", group_values_},
                  {"g_proj.weight", group_values_}});
    }
    if (tensor == "in_proj_ba.weight") {
      return cut(mixer, key_heads_, {{"b_proj.weight", group_}, {"a_proj.weight", group_}});
    }
    constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"in_proj_z.weight", "g_proj.weight"},
        {"in_proj_a.weight", "a_proj.weight"},
        {"in_proj_b.weight", "b_proj.weight"},
        {"norm.weight", "o_norm.weight"},
        {"out_proj.weight", "o_proj.weight"}};
    const auto* const row =
        std::ranges::find(kNames, tensor, [](const auto& n) { return n.first; });
    return {{mixer + (row == std::end(kNames) ? tensor : std::string(row->second)), {}}};
  }

  /// Each of the groups has these rows, one after the other.
  static Parts cut(const std::string& mixer, int64_t groups,
                   const std::vector<std::pair<std::string, int64_t>>& runs) {
    int64_t all = 0;
    for (const auto& [name, rows] : runs) all += rows;
    Parts parts;
    int64_t first = 0;
    for (const auto& [name, rows] : runs) {
      parts.push_back(
          {mixer + name, {.groups = groups, .group_rows = all, .first = first, .rows = rows}});
      first += rows;
    }
    return parts;
  }

  int64_t head_size_, turned_size_, heads_;  // of attention
  int64_t key_heads_, key_size_;             // of the delta rule
  int64_t group_, group_values_;             // value heads of a key head, their rows
};

constexpr Renamed kFlaNames[] = {
    {"model.embeddings.", "model.embed_tokens."}, {".attn_norm.", ".input_layernorm."},
    {".mlp_norm.", ".post_attention_layernorm."}, {".attn.f_proj.0.", ".attn.f_a_proj."},
    {".attn.f_proj.1.", ".attn.f_b_proj."},       {".attn.g_proj.0.", ".attn.g_a_proj."},
    {".attn.g_proj.1.", ".attn.g_b_proj."},       {".attn.", kMixer}};

// As transformers saves dense layers too; published ones are called mlp.
constexpr Renamed kKimiNames[] = {{".block_sparse_moe.", ".mlp."}};

bool is_of_another_part(const std::string& name) {
  return name.starts_with("mtp.") || name.starts_with("model.visual.");
}

/// Row j of a head in the parameter is this row of the stored head.
Tensor turning_order(int64_t size, int64_t turned) {
  const Tensor row = torch::arange(size);
  const int64_t still = (size - turned) / 2;
  return torch::cat({row.narrow(0, 0, turned / 2), row.narrow(0, turned, still),
                     row.narrow(0, turned / 2, turned / 2), row.narrow(0, turned + still, still)});
}

}  // namespace

const Json& text_config(const Json& config) {
  return config.is_object() && config.contains("text_config") ? config.at("text_config") : config;
}

int64_t turned_size_of(const Json& text_config) {
  double factor = 0.25;
  const auto look = [&factor](const Json& json) {
    constexpr const char* kKey = "partial_rotary_factor";
    if (!json.is_object() || !json.contains(kKey) || json.at(kKey).is_null()) return;
    factor = json.at(kKey).is_number() ? json.at(kKey).get<double>() : 0;
  };
  look(text_config);
  for (const char* rope : {"rope_scaling", "rope_parameters"}) {
    if (text_config.is_object() && text_config.contains(rope)) look(text_config.at(rope));
  }
  const bool is_part = factor > 0 && factor <= 1;
  const auto size = static_cast<double>(size_of(text_config, "head_dim"));
  return is_part ? static_cast<int64_t>(size * factor) : 0;
}

std::map<std::string, StoredPart> stored_parts(const Json& config,
                                               const std::vector<std::string>& names,
                                               const std::string& place) {
  const std::string architecture = architecture_of(config);
  const bool is_qwen = architecture.starts_with("Qwen3Next") || architecture.starts_with("Qwen3_5");
  const QwenNames qwen(text_config(config));
  const RecurrentNames recurrent(config, architecture, names);
  const auto parts_of = [&](const std::string& stored) -> Parts {
    if (is_qwen) return is_of_another_part(stored) ? Parts() : qwen.parts_of(stored);
    const bool is_fla =
        architecture == "GatedDeltaNetForCausalLM" || architecture == "KDAForCausalLM";
    if (is_fla) return {{renamed(stored, kFlaNames), {}}};
    if (architecture == "KimiLinearForCausalLM") return {{renamed(stored, kKimiNames), {}}};
    return recurrent.parts_of(stored).value_or(Parts{{stored, {}}});
  };
  std::map<std::string, StoredPart> found;
  for (const std::string& stored : names) {
    Parts parts = parts_of(stored);
    for (auto& [name, part] : parts) {
      part.name = stored;
      if (architecture == "KDAForCausalLM" && name.ends_with(".A_log")) part.shape = {1, 1, -1, 1};
      const auto [known, is_new] = found.emplace(name, std::move(part));
      HYPENET_CHECK(is_new, place, ": tensor ", stored, ": expected one tensor for ", name,
                    ", found ", known->second.name, " as well");
    }
  }
  return found;
}

Tensor take_part(const Tensor& stored, const StoredPart& part, const std::string& place) {
  Tensor taken = stored;
  const int64_t given = stored.dim() > 0 ? stored.size(0) : 0;
  if (part.group_rows > 0) {
    HYPENET_CHECK(given > 0 && given == part.groups * part.group_rows, place, ": tensor ",
                  part.name, ": expected ", part.groups * part.group_rows, " rows, found ", given);
    taken = taken.unflatten(0, {part.groups, part.group_rows})
                .narrow(1, part.first, part.rows)
                .flatten(0, 1);
  }
  if (part.head_size > 0) {
    const int64_t size = part.head_size, turned = part.turned_size;
    HYPENET_CHECK(
        given > 0 && given % size == 0 && size % 2 == 0 && turned % 2 == 0 && turned <= size, place,
        ": tensor ", part.name, ": expected heads of an even number of rows, found ", given,
        " rows, heads of ", size, " and of them ", turned, " with RoPE");
    taken = taken.unflatten(0, {-1, size}).index_select(1, turning_order(size, turned));
    taken = taken.flatten(0, 1);
  }
  if (part.is_transposed) {
    HYPENET_CHECK(stored.dim() == 2, place, ": tensor ", part.name,
                  ": expected a matrix, found shape ", stored.sizes());
    taken = taken.t().contiguous();
  }
  if (part.is_offset) taken = taken.to(torch::kFloat32) + 1;
  if (part.shape.empty() || taken.numel() == 0) return taken;
  const auto wide = std::ranges::count_if(taken.sizes(), [](int64_t size) { return size != 1; });
  HYPENET_CHECK(wide <= 1, place, ": tensor ", part.name,
                ": expected one size that is not 1, found shape ", stored.sizes());
  return taken.reshape(part.shape);
}

}  // namespace hypenet
