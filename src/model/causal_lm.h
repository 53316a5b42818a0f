// CausalLm: every model of the project, teachers and HypeNets. Parameters carry their published
// names (model.layers.0.self_attn.q_proj.weight), so named_parameters() is the name table of the
// weights.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "model/weight_keeper.h"
#include "ops/linear.h"
#include "store/checkpoint.h"

namespace hypenet {

/// How a model computes.
struct ComputePlan {
  torch::ScalarType type = torch::kFloat32;  // of activations; parameters keep theirs

  /// Whether every linear layer and the embedding has a copy of its parameters in `type`, which
  /// forwards read; without copies each forward casts the parameters again. Parameters that have
  /// the type already get none. Copies are neither parameters nor saved.
  bool has_copies = false;

  /// Of keys and values in memory; nullopt: as memory_types() of the weights says.
  std::optional<torch::ScalarType> cache_type = {};

  /// Of attention layers. Training takes its own, whatever config says; see begin_inference.
  LogitsScaling logits_scaling = {};

  /// Whether hidden() keeps only each block's input for backward and runs the block again there
  /// (model/checkpointing.h): less memory for a third more work.
  bool checkpoints_activations = false;
};

class CausalLmImpl : public torch::nn::Module {
 public:
  /// Random weights: N(0, 0.02) matrices and embeddings, ones in norms, zero biases, and what
  /// mixers draw themselves; draws from torch's generator. With `random_weights` false what would
  /// be drawn holds whatever the memory held, to be filled by the caller.
  explicit CausalLmImpl(ModelConfig config, bool random_weights = true);

  const ModelConfig& config() const { return config_; }

  /// Everything about how forwards compute from now on, in one call; a new model has the defaults.
  /// To be called after to(): copies stay on the device that the parameters are on now. Copies are
  /// made, anew where `type` has changed: graphs recorded before go on reading the old ones.
  void prepare(const ComputePlan& plan);
  const ComputePlan& plan() const { return plan_; }

  /// Of what prepare() said, changes what inference asks of any model: attention is scaled as
  /// config() says from now on, and the module is in eval mode.
  void begin_inference();

  torch::ScalarType compute_type() const { return plan_.type; }

  /// Brings the copies of all parameters that require a gradient up to date, without waiting for
  /// the device; may be recorded in a graph. To be called after each change of the parameters: an
  /// optimizer's update, a loaded state. Nothing happens without copies; those of parameters
  /// without a gradient are as prepare() made them.
  void refresh_compute_copies();

  /// Final hidden states (after the last norm) [B, T, D] of token ids int64 [B, T].
  /// `attention_mask` [B, T] (1 = token, 0 = padding, on the left or the right of each row): each
  /// row gets at its tokens what it gets alone.
  Tensor hidden(const Tensor& ids, const Tensor& attention_mask = {});

  /// Final hidden states [1, N, D] of a tree's nodes: each gets what it gets in any of its rows,
  /// within rounding.
  Tensor hidden(const TokenTree& tree);

  /// Logits [..., V] of final hidden states [..., D], in the compute type.
  Tensor logits(const Tensor& hidden);

  /// hidden then logits.
  Tensor forward(const Tensor& ids, const Tensor& attention_mask = {});

  /// The weights of all linear layers and of the embedding, in the order of the layers; without
  /// biases.
  std::vector<ModelMatrix> matrices();

  /// From now on `keeper` sees to what matrices() lists: their masters may be of no content and
  /// their copies there only while they are read. Without one, all masters are whole again, and
  /// copies are made of them as the plan says.
  void set_keeper(std::shared_ptr<WeightKeeper> keeper);

  /// From now on ids [B, n] of hidden(), context() and embed() are this rank's part of each row:
  /// mixers ask the others' ranks for what they need of theirs. Null: whole rows again. Throws
  /// Error naming a mixer that cannot.
  void split_rows(RowPartsPointer parts);

  // Inference with memory (model/inference.cpp); no autograd, ids are not checked. Parameters, or
  // their compute copies, have the compute type, or are bfloat16 beside float32 compute.

  /// The types that memory has for these parameters and this compute type.
  MemoryTypes memory_types() const;

  /// A chunk of one sequence, ids int64 [T] after the prefix.past tokens that its slot and pages
  /// hold: adds it to `state` and returns the residual [1, D] after its last token. By the kernels
  /// of whole sequences: what a GPU is fast at. `prefix.places` is filled in here.
  Tensor prefill(const Tensor& ids, Prefix prefix, DecodeState& state);

  /// A chunk with rows behind it that are nobody's, so that chunks of many lengths are one size of
  /// work (model/prefill_recording.h).
  struct PaddedChunk {
    Tensor ids, positions;  // int64 [n]; prefix.tokens of them count
    Tensor last;            // int64 [1]: the row of the chunk's last token
  };
  /// The same for such a chunk; `prefix.places` is there already, of the tokens that count.
  Tensor prefill(const PaddedChunk& chunk, const Prefix& prefix, DecodeState& state);

  /// Rows of an inference step: ids [N] int32 and rows' slots, positions and page table (angles and
  /// scale are filled in here). Adds them to `state` and returns the residual [N, D] after them. On
  /// a GPU it may be recorded.
  Tensor step(const Tensor& ids, TokenRows rows, DecodeState& state);

  /// Logits [N, V] float32 of residuals [N, D] (before the last norm).
  Tensor step_logits(const Tensor& residual);

  // The pieces of a forward, for stage 1 and the sweep, which walk the layers themselves.
  Tensor embed(const Tensor& ids);     // [B, T] -> [B, T, D] in the compute type
  Context context(const Tensor& ids);  // positions 0 .. T-1 or the part's, no padding, no state
  Context context(const TokenTree& tree);
  Block& layer(int64_t i) {
    if (keeper_) keeper_->before_layer(i);
    return layers_[static_cast<size_t>(i)];
  }
  Tensor finish(const Residual& h);  // the last norm

  /// The head's weight [V, D]: lm_head, or the embedding when tied; and its parameter.
  const Weight& head() const;
  const Tensor& head_weight() const { return head().master; }

 private:
  /// The Context of ids [B, T] after `past` tokens; `first_token` [B] as in Context.
  Context make_context(const Tensor& ids, const Tensor& first_token, int64_t past);

  /// The factor of queries at these positions int64 [..., T]; undefined when off.
  Tensor query_scale(const Tensor& positions) const;

  Residual prefill_layers(const Tensor& ids, const Context& context, const Prefix& prefix,
                          DecodeState& state);

  /// The frequencies on this device; throws Error unless the model is there.
  void use_frequencies_on(torch::Device device);

  /// The angles of T tokens after `past` ones, [T, d/2] each.
  RopeAngles plain_angles(const Tensor& positions, int64_t past);

  void make_copies();

  /// Makes the weight's copy, remembered for refresh_compute_copies, unless the weight does not
  /// exist or has the compute type.
  void make_copy(Weight& weight);

  /// The layers and the last norm.
  Tensor run(const Tensor& ids, const Context& context);

  ModelConfig config_;
  ComputePlan plan_;
  Tensor frequencies_;                   // of RoPE, float64 [d/2], on the device of the last ids
  RopeAngles table_;                     // on a GPU: the angles of the first positions, made once
  Weight embedding_;                     // model.embed_tokens.weight [V, D]
  std::vector<Tensor> copied_, copies_;  // parameters and, at the same places, their copies
  std::vector<Block> layers_;
  RmsNorm norm_{nullptr}, embedding_norm_{nullptr};  // the last; the first, of few models
  Linear lm_head_{nullptr};                          // empty when tied
  std::shared_ptr<WeightKeeper> keeper_;
  RowPartsPointer row_;
};
TORCH_MODULE(CausalLm);

/// Builds the model of a folder and fills it. `type` is the parameters' type (nullopt: as stored),
/// but for those that are float32 always (is_mixers_own in model/weights.h).
/// Throws Error naming file and tensor for a missing or unknown tensor, or a wrong shape.
CausalLm load_model(const Checkpoint& checkpoint,
                    std::optional<torch::ScalarType> type = torch::kFloat32,
                    torch::Device device = torch::kCPU);

/// The model's tensors under their published names, as `type` (likewise); lm_head is left out when
/// tied.
NamedTensors named_weights(CausalLmImpl& model, torch::ScalarType type);

/// The model's parameters that require a gradient, by published name.
NamedTensors trainable_parameters(CausalLm& model);

}  // namespace hypenet
