// The forward: padding is moved to the left by a gather, the layers run, and their output is moved
// back.
#include "model/causal_lm.h"

#include <torch/nn/module.h>

#include "model/checkpointing.h"
#include "model/mixers/mixer_kind.h"
#include "model/parameter_memory.h"
#include "model/rope.h"
#include "ops/attention.h"
#include "ops/embedding.h"
#include "ops/linear.h"

namespace hypenet {
namespace {

/// Where each row's tokens go when its padding moves to the left, and back; made without asking the
/// device anything.
struct Alignment {
  explicit Alignment(const Tensor& mask) {
    const int64_t T = mask.size(1);
    const Tensor token = mask.to(torch::kInt64);
    const Tensor count = token.sum(1, true);                // [B, 1]
    const Tensor begin = token.argmax(1, true);             // [B, 1]
    const Tensor shift = T - begin - count;                 // padding on the right
    const Tensor time = torch::arange(T, count.options());  // [T]
    source = (time - shift).remainder(T);                   // aligned[t] = given[source[t]]
    target = (time + shift).remainder(T);                   // given[t] = aligned[target[t]]
    first_token = (T - count).squeeze(1);
  }
  Tensor source, target, first_token;  // [B, T], [B, T], [B]
};

/// Module names cannot hold dots: a published name is a path of plain modules.
std::shared_ptr<torch::nn::Module> add_group(torch::nn::Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<torch::nn::Module>());
}

/// Has the keeper told when a backward comes to the layer that made h: when the gradient of one of
/// its parts is known.
void announce_backward(const Residual& h, int64_t layer, WeightKeeper& keeper) {
  for (const Tensor& part : {h.stream, h.pending}) {
    if (!part.defined() || !part.requires_grad()) continue;
    part.register_hook(
        [layer, &keeper](const Tensor& /*gradient*/) { keeper.before_backward(layer); });
  }
}

}  // namespace

CausalLmImpl::CausalLmImpl(ModelConfig config, bool random_weights)
    : config_(std::move(config)), frequencies_(model_rope_frequencies(config_)) {
  check_parameters_fit(config_, random_weights);
  const auto model = add_group(*this, "model");
  embedding_ =
      add_group(*model, "embed_tokens")
          ->register_parameter("weight", torch::empty({config_.vocab_size, config_.hidden_size}));
  const auto layers = add_group(*model, "layers");
  for (int64_t i = 0; i < std::ssize(config_.mixer_types); ++i) {
    layers_.push_back(layers->register_module(std::to_string(i), Block(config_, i)));
  }
  const auto norm = [&](const char* name) {
    return model->register_module(
        name, RmsNorm(config_.hidden_size, config_.rms_norm_eps, config_.blocks.has_layer_norms));
  };
  norm_ = norm("norm");
  if (config_.blocks.has_embedding_norm) embedding_norm_ = norm("embed_norm");
  if (!config_.tie_word_embeddings) {
    lm_head_ = register_module("lm_head", Linear(config_.hidden_size, config_.vocab_size, false));
  }
  if (!random_weights) return;
  const torch::NoGradGuard no_grad;
  for (Tensor& parameter : parameters()) {
    if (parameter.dim() > 1) parameter.normal_(0, 0.02);
  }
  for (Block& block : layers_) block->mixer().draw_own_parameters();
}

void CausalLmImpl::prepare(const ComputePlan& plan) {
  const MixerKind* const across = kind_across_layers(config_);
  HYPENET_CHECK(!plan.checkpoints_activations || across == nullptr,
                "model: checkpoints_activations: expected false with layers of ", across->name,
                " that read what others leave, found true");
  const bool keeps_copies = plan.type == plan_.type && plan.has_copies == plan_.has_copies;
  plan_ = plan;
  if (!keeps_copies) make_copies();
}

void CausalLmImpl::make_copies() {
  copied_.clear(), copies_.clear();
  if (!keeper_) make_copy(embedding_);
  for (const auto& module : modules()) {
    if (auto* linear = module->as<LinearImpl>()) {
      if (!keeper_) make_copy(linear->weights.weight);
      make_copy(linear->weights.bias);
    }
  }
}

std::vector<ModelMatrix> CausalLmImpl::matrices() {
  std::vector<ModelMatrix> found;
  for (int64_t i = 0; i < std::ssize(layers_); ++i) {
    const std::string name = concat("model.layers.", i);
    for (const auto& module : layers_[static_cast<size_t>(i)]->named_modules(name)) {
      if (auto* linear = module.value()->as<LinearImpl>()) {
        found.push_back({module.key() + ".weight", i, &linear->weights.weight});
      }
    }
  }
  const int64_t L = std::ssize(layers_);
  found.push_back({"model.embed_tokens.weight", L, &embedding_});
  if (lm_head_) found.push_back({"lm_head.weight", L + 1, &lm_head_->weights.weight});
  return found;
}

void CausalLmImpl::set_keeper(std::shared_ptr<WeightKeeper> keeper) {
  keeper_ = std::move(keeper);
  make_copies();
}

void CausalLmImpl::make_copy(Weight& weight) {
  weight.copy = Tensor();
  if (!plan_.has_copies || !weight.defined() || weight.packed ||
      weight.master.scalar_type() == plan_.type)
    return;
  weight.copy = weight.master.detach().to(plan_.type);
  copied_.push_back(weight.master), copies_.push_back(weight.copy);
}

void CausalLmImpl::refresh_compute_copies() {
  std::vector<Tensor> parameters, copies;
  for (size_t i = 0; i < copied_.size(); ++i) {
    if (!copied_[i].requires_grad()) continue;
    parameters.push_back(copied_[i]), copies.push_back(copies_[i]);
  }
  if (copies.empty()) return;
  const torch::NoGradGuard no_grad;
  at::_foreach_copy_(copies, parameters);
}

void CausalLmImpl::begin_inference() {
  eval();
  plan_.logits_scaling = config_.attn_logits_scaling;
}

Tensor CausalLmImpl::embed(const Tensor& ids) {
  if (keeper_) keeper_->before_forward();
  const Tensor h = embedding(embedding_, ids).to(plan_.type);
  return embedding_norm_ ? embedding_norm_(h) : h;
}

void CausalLmImpl::split_rows(RowPartsPointer parts) {
  for (const MixerKind* const kind : config_.mixer_types) {
    HYPENET_CHECK(!parts || kind->splits_rows, "model: mixer ", kind->name,
                  ": expected whole rows, found parts of them");
  }
  row_ = std::move(parts);
}

Context CausalLmImpl::context(const Tensor& ids) {
  if (!row_) return make_context(ids, {}, 0);
  HYPENET_CHECK(ids.size(1) == row_->tokens_of(row_->index()), "model: ids: expected ",
                row_->tokens_of(row_->index()), " tokens of each row, found ", ids.size(1));
  Context context = make_context(ids, {}, row_->first_token(row_->index()));
  context.row = row_;
  return context;
}

Context CausalLmImpl::context(const TokenTree& tree) {
  const TreePaths& paths = tree.paths;
  Context context = make_context(paths.rows.view({paths.count, paths.length}), {}, 0);
  context.paths = paths;
  return context;
}

void CausalLmImpl::use_frequencies_on(torch::Device device) {
  // Before the table changes its device: recorded graphs read it.
  HYPENET_CHECK(device == head_weight().device(), "model: ids: expected device ",
                head_weight().device(), ", found ", device);
  if (frequencies_.device() == device) return;
  frequencies_ = frequencies_.to(device);
  table_ = {};
}

Context CausalLmImpl::make_context(const Tensor& ids, const Tensor& first_token, int64_t past) {
  use_frequencies_on(ids.device());
  Context context;
  context.positions = torch::arange(past, past + ids.size(1), ids.options());
  if (first_token.defined()) {
    const Tensor own = context.positions - first_token.unsqueeze(1);  // [B, T], negative at padding
    context.first_token = first_token;
    context.valid = (own >= 0).unsqueeze(-1);
    context.positions = own.clamp_min(0);
  }
  context.angles = first_token.defined() ? rope_angles(context.positions, frequencies_)
                                         : plain_angles(context.positions, past);
  context.query_scale = query_scale(context.positions);
  return context;
}

Tensor CausalLmImpl::query_scale(const Tensor& positions) const {
  const LogitsScaling& scaling = plan_.logits_scaling;
  switch (scaling.kind) {
    case LogitsScaling::Kind::kNone:
      return {};
    case LogitsScaling::Kind::kConstant:
      return torch::full({1, 1, 1, 1}, scaling.value, positions.options().dtype(torch::kFloat32));
    case LogitsScaling::Kind::kLogPosition:
      return log_position_scale(positions, scaling.value).view({-1, positions.size(-1), 1, 1});
  }
  throw Error("model: unknown kind of logits scaling");
}

RopeAngles CausalLmImpl::plain_angles(const Tensor& positions, int64_t past) {
  // Of one size that is never replaced: recorded graphs go on reading it. 17 MB at d 128.
  constexpr int64_t kTableTokens = 32768;
  const int64_t T = positions.size(0);
  if (!positions.is_cuda() || past + T > kTableTokens) return rope_angles(positions, frequencies_);
  if (!table_.cos.defined()) {
    table_ = rope_angles(torch::arange(kTableTokens, positions.options()), frequencies_);
  }
  return {table_.cos.narrow(0, past, T), table_.sin.narrow(0, past, T)};
}

Tensor CausalLmImpl::finish(const Residual& h) { return norm_->add(h).normed; }

Tensor CausalLmImpl::run(const Tensor& ids, const Context& context) {
  Residual h = {embed(ids)};
  for (int64_t i = 0; i < std::ssize(layers_); ++i) {
    Block& block = layer(i);
    if (plan_.checkpoints_activations) {
      // Two parts of the sum would be twice the memory to keep.
      h = {checkpointed(h.stream, [block, context](const Tensor& x) mutable {
        return block->forward({x}, context).sum();
      })};
    } else {
      h = block->forward(h, context);
    }
    if (keeper_) announce_backward(h, i, *keeper_);
  }
  return finish(h);
}

Tensor CausalLmImpl::hidden(const Tensor& ids, const Tensor& attention_mask) {
  HYPENET_CHECK(ids.dim() == 2 && ids.scalar_type() == torch::kInt64 && ids.size(1) > 0,
                "model: ids: expected int64 [B, T], found ", ids.scalar_type(), " ", ids.sizes());
  const bool masked = attention_mask.defined();
  HYPENET_CHECK(!masked || attention_mask.sizes() == ids.sizes(),
                "model: attention_mask: expected ", ids.sizes(), ", found ",
                attention_mask.sizes());
  HYPENET_CHECK(!masked || !row_, "model: attention_mask: expected none with parts of rows");
  if (!masked) return run(ids, context(ids));
  const Alignment alignment(attention_mask);
  const Tensor aligned = ids.gather(1, alignment.source);
  const Tensor h = run(aligned, make_context(aligned, alignment.first_token, 0));
  return h.gather(1, alignment.target.unsqueeze(-1).expand_as(h));
}

Tensor CausalLmImpl::hidden(const TokenTree& tree) { return run(tree.ids, context(tree)); }

Tensor CausalLmImpl::logits(const Tensor& hidden) { return apply_linear(hidden, {head()}); }

Tensor CausalLmImpl::forward(const Tensor& ids, const Tensor& attention_mask) {
  return logits(hidden(ids, attention_mask));
}

const Weight& CausalLmImpl::head() const {
  return config_.tie_word_embeddings ? embedding_ : lm_head_->weights.weight;
}

}  // namespace hypenet
