// The operators are called by name: libtorch's own choice would send every new key length of a
// decode to cuDNN.
#include "base/error.h"
#include "ops/attention_forms.h"

namespace hypenet {
namespace {

/// Whether cuDNN pays. On an H200 it does 560 to 630 TFLOP/s (causal, d 128) and flash 325, but it
/// plans about 30 ms for each shape it has not seen in this thread: at 32,768 tokens one forward of
/// seven layers wins that back, below only shapes that come again do: a recipe's context, prefills
/// of whole blocks. Gradients do not count: activation checkpointing runs a block without them
/// first and with them again, and both have to give the same.
bool prefers_cudnn(int64_t T, int64_t S, int64_t d) {
  constexpr int64_t kBlock = 256, kLong = 32768, kLargestHead = 128;
  return T == S && d <= kLargestHead && (T % kBlock == 0 || T >= kLong);
}

bool uses_cudnn(AttentionBackend backend, const Tensor& q, const Tensor& k) {
  switch (backend) {
    case AttentionBackend::kAutomatic:
      return prefers_cudnn(q.size(1), k.size(1), q.size(3));
    case AttentionBackend::kFlash:
      return false;
    case AttentionBackend::kCudnn:
      HYPENET_CHECK(q.size(1) == k.size(1) && q.size(1) > 1 && q.size(3) <= 128,
                    "attention: cuDNN: expected as many keys as queries, more than one, and heads "
                    "of at most 128, found ",
                    k.size(1), ", ", q.size(1), " and ", q.size(3));
      return true;
  }
  throw Error("attention: unknown backend");
}

}  // namespace

bool suits_fused_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto suits = [](const Tensor& x) {
    return x.is_cuda() && x.scalar_type() == torch::kBFloat16 && x.stride(3) == 1;
  };
  return suits(q) && suits(k) && suits(v) && q.size(3) % 8 == 0 && q.size(3) <= 256;
}

Tensor fused_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                       AttentionBackend backend) {
  const bool has_gradients = torch::GradMode::is_enabled() &&
                             (q.requires_grad() || k.requires_grad() || v.requires_grad());
  // Both take grouped heads as they are, [B, H, T, d] and [B, G, S, d] in any order of memory.
  const Tensor queries = q.transpose(1, 2), keys = k.transpose(1, 2), values = v.transpose(1, 2);
  if (uses_cudnn(backend, q, k)) {
    return std::get<0>(at::_scaled_dot_product_cudnn_attention(
                           queries, keys, values, /*attn_bias=*/std::nullopt,
                           /*compute_log_sumexp=*/has_gradients, /*dropout_p=*/0.0,
                           /*is_causal=*/true))
        .transpose(1, 2);
  }
  // Causal here means that the last query sees the last key, also when there are more keys.
  return std::get<0>(at::_scaled_dot_product_flash_attention(queries, keys, values,
                                                             /*dropout_p=*/0.0,
                                                             /*is_causal=*/q.size(1) > 1))
      .transpose(1, 2);
}

std::tuple<Tensor, Tensor> fused_attention_part(const Tensor& q, const Tensor& k, const Tensor& v,
                                                bool is_causal) {
  // Whole blocks of queries against whole blocks of keys come again; the ends of prompts do not.
  constexpr int64_t kBlock = 256, kLargestHead = 128;
  const bool is_block =
      q.size(2) % kBlock == 0 && k.size(2) % kBlock == 0 && q.size(3) <= kLargestHead;
  if (is_block) {
    const auto found = at::_scaled_dot_product_cudnn_attention(q, k, v, /*attn_bias=*/std::nullopt,
                                                               /*compute_log_sumexp=*/true,
                                                               /*dropout_p=*/0.0, is_causal);
    return {std::get<0>(found), std::get<1>(found)};
  }
  const auto found = at::_scaled_dot_product_flash_attention(q, k, v, /*dropout_p=*/0.0, is_causal);
  return {std::get<0>(found), std::get<1>(found)};
}

}  // namespace hypenet
