// SUPRA (arXiv 2405.06640) as a token mixer: lightning attention's recurrence of queries and keys
// that a learned map has made positive.
#pragma once

#include "model/linear.h"
#include "model/mixers/mixer_kind.h"
#include "model/mixers/token_mixer.h"
#include "ops/recurrence.h"

namespace hypenet {

/// "supra"
extern const MixerKind kSupraMixer;

/// Its keys of config.json, after supra_ those of linear_open_lm. Sizes that config.json leaves out
/// are those of the attention layers.
struct SupraConfig {
  int64_t n_heads = 0, n_heads_kv = 0, qk_head_dim = 0;
  bool qk_norm = false;            // true is refused
  bool use_decay = true;           // else nothing is forgotten
  bool use_retnet_slopes = false;  // head h keeps 1 - 2^(-5 - h) of its state a token
  template <class Visitor>
  void visit(Visitor&& field) {
    field("supra_n_heads", n_heads);
    field("supra_n_heads_kv", n_heads_kv);
    field("supra_qk_head_dim", qk_head_dim);
    field("supra_qk_norm", qk_norm);
    field("supra_use_decay", use_decay);
    field("supra_use_retnet_slopes", use_retnet_slopes);
  }

  /// Nats a token, float32 [H].
  Tensor decay() const;
};

/// [q, k, v] = in_proj x; q = RoPE(relu(E q + e)), k = RoPE(relu(E' k + e')), each map over all
/// heads at once; y = out_proj(o of each head less its mean, divided by its deviation).
class SupraMixer : public TokenMixer {
 public:
  explicit SupraMixer(const ModelConfig& config);
  Tensor forward(const Tensor& x, const Context& context) override;
  Tensor prefill(const Tensor& x, const Context& context, const Prefix& prefix,
                 LayerMemory& memory) override;
  StepOutput step(const Normed& x, const TokenRows& rows, LayerMemory& memory) override;
  void draw_own_parameters() override;

 private:
  std::vector<Tensor> parts_of(const Tensor& projected) const;  // q, k and v
  Linear& key_map() { return embed_kv_ ? embed_kv_ : embed_; }
  Recurrence recurrence_of(const std::vector<Tensor>& qkv, const Context& context);
  Tensor normed(const Tensor& o) const;  // [.., H, d] -> [.., H d]
  const Tensor& decay_on(torch::Device device);

  SupraConfig config_;
  double scale_;
  Tensor decay_;  // [H] float32, on the device of the last input
  Linear in_proj_{nullptr}, out_proj_{nullptr};
  Linear embed_{nullptr};     // E and e
  Linear embed_kv_{nullptr};  // E' and e'; empty where keys have as many heads: then E and e
};

}  // namespace hypenet
