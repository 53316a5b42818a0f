// What rules are made of.
#include "halo/twins/twin_rule.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/alternatives.h"
#include "base/fnv1a.h"
#include "base/random.h"

namespace hypenet {

std::string mixer_tensor(int64_t layer, std::string_view name) {
  return concat("model.layers.", layer, ".self_attn.", name);
}

Tensor new_gate(const std::vector<int64_t>& shape, int64_t layer, const TransferOptions& options,
                torch::ScalarType type) {
  const auto generator = at::detail::createCPUGenerator(Random(options.seed, {layer}).next());
  return (torch::randn(shape, generator, torch::kFloat32) * options.gate_std).to(type);
}

TeacherAttention::TeacherAttention(const Checkpoint& teacher, const ModelConfig& config,
                                   int64_t layer, const TransferOptions& options)
    : teacher_(teacher),
      config_(config),
      layer_(layer),
      options_(options),
      type_(teacher.facts(name("q_proj.weight")).type) {}

void TeacherAttention::copy(std::string_view projection, NamedTensors& to) const {
  for (const std::string_view part : {".weight", ".bias"}) {
    const std::string full = name(concat(projection, part));
    if (teacher_.contains(full)) to.emplace_back(full, teacher_.tensor(full));
  }
}

void TeacherAttention::expand(std::string_view projection, NamedTensors& to) const {
  const int64_t groups = config_.num_key_value_heads;
  const size_t begin = to.size();
  copy(projection, to);
  for (size_t i = begin; i < to.size(); ++i) {
    Tensor& tensor = to[i].second;
    tensor = tensor.unflatten(0, {groups, config_.head_dim})
                 .repeat_interleave(config_.num_attention_heads / groups, 0)
                 .flatten(0, 1);
  }
}

void TeacherAttention::copy_norm(std::string_view norm, int64_t size, NamedTensors& to) const {
  const std::string full = name(concat(norm, ".weight"));
  to.emplace_back(full, teacher_.contains(full) ? teacher_.tensor(full) : ones(size));
}

void TeacherAttention::copy_heads(int64_t size, NamedTensors& to) const {
  copy("q_proj", to);
  expand("k_proj", to);
  expand("v_proj", to);
  copy("o_proj", to);
  copy_norm("q_norm", size, to);
  copy_norm("k_norm", size, to);
}

Tensor TeacherAttention::ones(int64_t size) const { return torch::ones({size}, type_); }

Tensor TeacherAttention::new_gate(int64_t rows) const {
  return hypenet::new_gate({rows, config_.hidden_size}, layer_, options_, type_);
}

torch::Generator TeacherAttention::generator(std::string_view tensor) const {
  Fnv1a label;
  label.add(tensor);
  const auto number = static_cast<int64_t>(label.value());
  return at::detail::createCPUGenerator(Random(options_.seed, {layer_, number}).next());
}

void TeacherAttention::draw(std::string_view projection, int64_t rows, int64_t columns,
                            double bound, NamedTensors& to) const {
  to.emplace_back(name(concat(projection, ".weight")), drawn(projection, rows, columns, bound));
}

Tensor TeacherAttention::drawn(std::string_view projection, int64_t rows, int64_t columns,
                               double bound) const {
  const Tensor unit = torch::rand({rows, columns}, generator(projection), torch::kFloat32);
  return ((2 * unit - 1) * bound).to(type_);
}

Tensor TeacherAttention::tensor(std::string_view part) const {
  const std::string full = name(part);
  return teacher_.contains(full) ? teacher_.tensor(full) : Tensor();
}

Tensor TeacherAttention::stacked(std::initializer_list<std::string_view> projections,
                                 std::string_view part) const {
  std::vector<Tensor> parts;
  for (const std::string_view projection : projections) {
    parts.push_back(tensor(concat(projection, part)));
    if (!parts.back().defined()) return {};
  }
  return torch::cat(parts);
}

const TwinRule& twin_rule(std::string_view mixer, const std::string& place) {
  std::vector<std::string> names;
  for (const TwinRule* rule : twin_rules()) {
    if (rule->mixer->name == mixer) return *rule;
    names.push_back(concat('"', rule->mixer->name, '"'));
  }
  throw Error(concat(place, ": expected ", alternatives(names), ", found \"", mixer, "\""));
}

}  // namespace hypenet
