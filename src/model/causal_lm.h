// CausalLm: every model of the project, teachers and HypeNets. Parameters carry their published
// names (model.layers.0.self_attn.q_proj.weight), so named_parameters() is the name table of the
// weights.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "ops/linear.h"
#include "store/checkpoint.h"

namespace hypenet {

class CausalLmImpl : public torch::nn::Module {
 public:
  /// Random weights: N(0, 0.02) matrices, convolutions and embeddings, ones in norms, zero biases;
  /// draws from torch's generator. With `random_weights` false what would be drawn holds whatever
  /// the memory held, to be filled by the caller.
  explicit CausalLmImpl(ModelConfig config, bool random_weights = true);

  const ModelConfig& config() const { return config_; }

  /// The type activations are computed in (parameters keep theirs). Default float32. Copies that
  /// exist are made again in this type: graphs recorded before go on reading the old ones.
  void set_compute_type(torch::ScalarType type);
  torch::ScalarType compute_type() const { return compute_type_; }

  /// Gives every linear layer and the embedding a copy of its parameters in the compute type, which
  /// forwards read from now on; without copies each forward casts the parameters again. Parameters
  /// that have the compute type already get none. Copies are neither parameters nor saved; they
  /// stay on the device that the parameters are on now. To be called after set_compute_type and
  /// to().
  void make_compute_copies();

  /// Brings the copies of all parameters that require a gradient up to date, without waiting for
  /// the device; may be recorded in a graph. To be called after each change of the parameters: an
  /// optimizer's update, a loaded state. Nothing happens without copies; those of parameters
  /// without a gradient are renewed by make_compute_copies() alone.
  void refresh_compute_copies();

  /// Whether hidden() keeps only each block's input for backward and runs the block again there
  /// (model/checkpointing.h): less memory for a third more work. Default false.
  void set_activation_checkpointing(bool on) { checkpoints_activations_ = on; }

  /// Logits scaling of attention layers in forwards from now on. A new model has none whatever its
  /// config says, as training wants it; who infers calls this with config().attn_logits_scaling.
  void set_logits_scaling(const LogitsScaling& scaling);

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

  // Inference with memory (model/inference.cpp); no autograd, ids are not checked. Parameters, or
  // their compute copies, have the compute type, or are bfloat16 beside float32 compute.

  /// The types that memory has for these parameters and this compute type.
  MemoryTypes memory_types() const;

  /// A chunk of one sequence, ids int64 [T] after the prefix.past tokens that its slot and pages
  /// hold: adds it to `state` and returns the residual [1, D] after its last token. By the kernels
  /// of whole sequences: what a GPU is fast at. `prefix.places` is filled in here.
  Tensor prefill(const Tensor& ids, Prefix prefix, DecodeState& state);

  /// Rows of an inference step: ids [N] int32 and rows' slots, positions and page table (angles and
  /// scale are filled in here). Adds them to `state` and returns the residual [N, D] after them. On
  /// a GPU it may be recorded.
  Tensor step(const Tensor& ids, TokenRows rows, DecodeState& state);

  /// Logits [N, V] float32 of residuals [N, D] (before the last norm).
  Tensor step_logits(const Tensor& residual);

  // The pieces of a forward, for stage 1 and the sweep, which walk the layers themselves.
  Tensor embed(const Tensor& ids);  // [B, T] -> [B, T, D] in the compute type
  Step step(const Tensor& ids);     // positions 0 .. T-1, no padding, no state
  Step step(const TokenTree& tree);
  Block& layer(int64_t i) { return layers_[i]; }
  Tensor finish(const Residual& h);  // the last norm

  /// The head's weight [V, D]: lm_head, or the embedding when tied.
  const Tensor& head_weight() const;

  /// The head's weight and its copy, for the losses over the vocabulary.
  Head head() const;

 private:
  /// The Step of ids [B, T] after `past` tokens; `first_token` [B] as in Step.
  Step make_step(const Tensor& ids, const Tensor& first_token, int64_t past);

  /// The frequencies on this device; throws Error unless the model is there.
  void use_frequencies_on(torch::Device device);

  /// The angles of T tokens after `past` ones, [T, d/2] each.
  RopeAngles plain_angles(const Tensor& positions, int64_t past);

  /// A copy of this parameter, remembered for refresh_compute_copies; undefined when it has the
  /// compute type or does not exist.
  Tensor compute_copy(const Tensor& parameter);

  /// The layers and the last norm.
  Tensor run(const Tensor& ids, const Step& step);

  ModelConfig config_;
  torch::ScalarType compute_type_ = torch::kFloat32;
  bool checkpoints_activations_ = false;
  LogitsScaling logits_scaling_;
  Tensor frequencies_;  // of RoPE, float64 [d/2], on the device of the last ids
  RopeAngles table_;    // on a GPU: the angles of the first positions, made once
  Tensor embedding_;    // model.embed_tokens.weight [V, D]
  Tensor embedding_copy_;
  std::vector<Tensor> copied_, copies_;  // parameters and, at the same places, their copies
  std::vector<Block> layers_;
  RmsNorm norm_{nullptr};
  Linear lm_head_{nullptr};  // empty when tied
};
TORCH_MODULE(CausalLm);

/// Builds the model of a folder and fills it. `type` is the parameters' type (nullopt: as stored).
/// Throws Error naming file and tensor for a missing or unknown tensor, or a wrong shape.
CausalLm load_model(const Checkpoint& checkpoint,
                    std::optional<torch::ScalarType> type = torch::kFloat32,
                    torch::Device device = torch::kCPU);

/// The model's tensors under their published names, as `type`; lm_head is left out when tied.
NamedTensors named_weights(CausalLmImpl& model, torch::ScalarType type);

}  // namespace hypenet
