// A twin's block is the teacher's but for its mixer (stage 1 trains nothing else), so that a
// variant takes it whole.
#include "halo/variants.h"

#include <algorithm>

#include "model/mixers/mixer_kind.h"
#include "model/weights.h"

namespace hypenet {
namespace {

void check_shared_weights(const CausalLm& teacher, const CausalLm& twins,
                          const std::string& place) {
  const auto expected = teacher->named_parameters(), found = twins->named_parameters();
  for (const auto& item : expected) {
    if (item.key().find(".self_attn.") != std::string::npos) continue;
    const Tensor* same = found.find(item.key());
    HYPENET_CHECK(same && torch::equal(*same, item.value()), place, ": tensor ", item.key(),
                  ": expected the teacher's (stage 1 trains the mixers alone), found ",
                  same ? "another" : "none");
  }
}

/// Final hidden states of all variants for one batch of rows.
void walk_variants(LayerVariants& variants, const TokenTree& tree,
                   const std::function<void(const Tensor& hidden)>& emit) {
  CausalLm& teacher = variants.teacher();
  const int64_t layers = variants.layers();
  const Context context = teacher->context(tree);
  std::vector<Tensor> below = {teacher->embed(tree.ids)};  // [i]: the input of layer i, [1, N, D]
  below.reserve(static_cast<size_t>(layers) + 1);
  for (int64_t i = 0; i < layers; ++i) {
    below.push_back(teacher->layer(i)->forward({below.back()}, context).sum());
  }
  emit(teacher->finish({below.back()}));
  for (int64_t replaced = 0; replaced < layers; ++replaced) {
    Residual h = {below[static_cast<size_t>(replaced)]};
    for (int64_t i = replaced; i < layers; ++i) {
      h = variants.block(replaced + 1, i)->forward(h, context);
    }
    emit(teacher->finish(h));
  }
}

}  // namespace

LayerVariants::LayerVariants(CausalLm teacher, CausalLm twins, const std::string& place)
    : teacher_(std::move(teacher)), twins_(std::move(twins)) {
  check_twins(teacher_->config(), twins_->config(), place);
  check_shared_weights(teacher_, twins_, place);
}

CausalLm LayerVariants::model(int64_t variant) {
  if (variant == 0) return teacher_;
  // The modules of a copy are the original's.
  CausalLm model(std::make_shared<CausalLmImpl>(*teacher_));
  model->layer(variant - 1) = twins_->layer(variant - 1);
  return model;
}

HiddenVariants LayerVariants::hidden() {
  return [this](const TokenTree& tree, const auto& emit) { walk_variants(*this, tree, emit); };
}

std::string name_of_variant(int64_t variant) {
  return variant == 0 ? "the teacher" : concat("the variant of layer ", variant - 1);
}

void check_twins(const ModelConfig& teacher, const ModelConfig& twins, const std::string& place) {
  const auto& types = teacher.mixer_types;
  const auto recurrent = std::ranges::find_if(types, &MixerKind::is_recurrent);
  HYPENET_CHECK(recurrent == types.end(),
                "teacher: expected a model whose every layer is attention, found ",
                (*recurrent)->name, " layers");
  HYPENET_CHECK(std::ranges::all_of(twins.mixer_types, &MixerKind::is_recurrent), place,
                ": expected a model whose every layer is recurrent (stage 1's), found attention "
                "layers");
  HYPENET_CHECK(twins.num_hidden_layers == teacher.num_hidden_layers &&
                    twins.hidden_size == teacher.hidden_size,
                place, ": expected twins of ", teacher.num_hidden_layers, " layers of size ",
                teacher.hidden_size, ", found ", twins.num_hidden_layers, " of size ",
                twins.hidden_size);
}

LayerVariants load_variants(const std::filesystem::path& teacher,
                            const std::filesystem::path& aligned, torch::ScalarType type,
                            torch::Device device) {
  const auto load = [&](const std::filesystem::path& folder) {
    CausalLm model = load_model(open_rounded(folder), type, device);
    model->prepare({.type = type});
    model->begin_inference();
    return model;
  };
  return {load(teacher), load(aligned), aligned.string()};
}

}  // namespace hypenet
