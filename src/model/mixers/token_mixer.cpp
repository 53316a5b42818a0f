// Steps that several mixers share.
#include "model/mixers/token_mixer.h"

#include "ops/graph.h"

namespace hypenet {
namespace {

void fill(const Tensor& y, const std::vector<Tensor>& inputs, const AlongSequence& compute,
          const Prefix& chunk) {
  std::vector<Tensor> tokens;
  tokens.reserve(inputs.size());
  for (const Tensor& x : inputs) tokens.push_back(x.narrow(1, 0, chunk.tokens));
  y.narrow(1, 0, chunk.tokens).copy_(compute(tokens, chunk));
}

}  // namespace

Tensor along_sequence(const Prefix& prefix, const std::vector<Tensor>& inputs,
                      const AlongSequence& compute) {
  const Tensor& first = inputs.front();
  const bool is_whole = prefix.tokens < 0 || prefix.tokens == first.size(1);
  if (prefix.recorder == nullptr && is_whole) return compute(inputs, prefix);
  const Tensor y = torch::empty(first.sizes(), first.options());
  if (prefix.recorder == nullptr) {
    fill(y, inputs, compute, prefix);
    return y;
  }
  std::vector<Tensor> views;
  views.reserve(inputs.size());
  for (const Tensor& x : inputs) views.push_back(unowned(x));
  prefix.recorder->aside(
      [y = unowned(y), views, compute](const Prefix& chunk) { fill(y, views, compute, chunk); });
  return y;
}

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.unflatten(-1, {heads, x.size(-1) / heads});
}

Tensor repeat_heads(const Tensor& x, int64_t heads) {
  return x.size(2) == heads ? x : x.repeat_interleave(heads / x.size(2), 2);
}

Tensor norm_and_rotate(const Tensor& x, const RmsNorm& norm, bool rotates,
                       const RopeAngles& angles) {
  if (norm) return rotates ? norm->rotated(x, angles) : norm->forward(x);
  return rotates ? apply_rope(x, angles) : x;
}

}  // namespace hypenet
