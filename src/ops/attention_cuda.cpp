// The operators are called by name: libtorch's own choice would send every new key length of a
// decode to cuDNN.
#include <torch/autograd.h>

#include <tuple>

#include "base/error.h"
#include "ops/attention_forms.h"
#include "ops/prefill_attention.h"

namespace hypenet {
namespace {

/// Whether cuDNN pays. On an H200 it does 560 to 630 TFLOP/s (causal, d 128) and flash 325, but it
/// plans about 30 ms for each shape it has not seen in this thread: at 32,768 tokens one forward of
/// seven layers wins that back, below only shapes that come again do: a recipe's context, prefills
/// of whole blocks. Gradients do not count: activation checkpointing runs a block without them
/// first and with them again, and both have to give the same.
bool prefers_cudnn(int64_t T, int64_t S, int64_t d) {
  constexpr int64_t kBlock = 256, kLong = 32768, kLargestHead = 128;
  const bool are_blocks = T % kBlock == 0 && S % kBlock == 0;
  return T > 1 && d <= kLargestHead && (are_blocks || T >= kLong);
}

bool uses_cudnn(AttentionBackend backend, const Tensor& q, const Tensor& k) {
  switch (backend) {
    case AttentionBackend::kAutomatic:
      return prefers_cudnn(q.size(1), k.size(1), q.size(3));
    case AttentionBackend::kFlash:
      return false;
    case AttentionBackend::kCudnn:
      HYPENET_CHECK(q.size(1) > 1 && q.size(3) <= 128,
                    "attention: cuDNN: expected more than one query, and heads of at most 128, "
                    "found ",
                    q.size(1), " and ", q.size(3));
      return true;
  }
  throw Error("attention: unknown backend");
}

/// What cuDNN gives of attention over keys and values, heads first.
struct CudnnAttention {
  CudnnAttention(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal) {
    std::tie(output, logsum, std::ignore, std::ignore, std::ignore, std::ignore, seed, offset,
             std::ignore) =
        at::_scaled_dot_product_cudnn_attention(q, k, v, /*attn_bias=*/std::nullopt,
                                                /*compute_log_sumexp=*/true, /*dropout_p=*/0.0,
                                                is_causal);
  }
  Tensor output, logsum;  // [B, H, T, d], [B, H, T, 1]
  Tensor seed, offset;    // of dropout, for the backward
};

/// Queries of the last tokens, heads first: q [B, H, T, d], k and v [B, G, S, d], S > T. cuDNN's
/// causal form takes as many keys as queries, so the keys before them are a part of their own.
/// Returns [B, H, T, d].
struct LastQueries : torch::autograd::Function<LastQueries> {
  using Context = torch::autograd::AutogradContext;

  static Tensor forward(Context* context, const Tensor& q, const Tensor& k, const Tensor& v) {
    const int64_t T = q.size(2), before = k.size(2) - T;
    const CudnnAttention earlier(q, k.narrow(2, 0, before), v.narrow(2, 0, before), false);
    const CudnnAttention own(q, k.narrow(2, before, T), v.narrow(2, before, T), true);
    std::vector<Tensor> rows;
    for (int64_t b = 0; b < q.size(0); ++b) {
      const auto part = [b](const CudnnAttention& from) {
        return AttentionPart{from.output[b].transpose(0, 1).contiguous(),
                             from.logsum[b].squeeze(-1).contiguous()};
      };
      rows.push_back(join_attention({part(earlier), part(own)}));
    }
    const Tensor output = torch::stack(rows).transpose(1, 2);
    const Tensor logsum = torch::logaddexp(earlier.logsum, own.logsum);
    context->save_for_backward({q, k, v, output, logsum});
    context->saved_data["seed"] = own.seed;
    context->saved_data["offset"] = own.offset;
    return output;
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const int64_t T = q.size(2), before = k.size(2) - T;
    const auto part = [&](int64_t first, int64_t count, bool is_causal) {
      return at::_scaled_dot_product_cudnn_attention_backward(
          gradients[0], q, k.narrow(2, first, count), v.narrow(2, first, count), saved[3], saved[4],
          context->saved_data["seed"].toTensor(), context->saved_data["offset"].toTensor(),
          /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, T, count, /*dropout_p=*/0.0,
          is_causal);
    };
    const auto [q_earlier, k_earlier, v_earlier] = part(0, before, false);
    const auto [q_own, k_own, v_own] = part(before, T, true);
    return {q_earlier + q_own, torch::cat({k_earlier, k_own}, 2),
            torch::cat({v_earlier, v_own}, 2)};
  }
};

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
    if (q.size(1) < k.size(1)) return LastQueries::apply(queries, keys, values).transpose(1, 2);
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
