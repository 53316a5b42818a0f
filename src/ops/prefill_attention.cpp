// Pieces of the past have few sizes: cuDNN plans each once (about 30 ms), for all layers and
// chunks.
#include "ops/prefill_attention.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>

#include "kernels/device.h"
#include "ops/attention.h"
#include "ops/attention_forms.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr int64_t kMostPastParts = kernels::cuda::kMostAttentionParts - 1;  // one is the chunk's

/// Tokens of a piece of the past: few pieces for the fused kernels, small ones where the scores are
/// held in memory.
int64_t piece_tokens(int64_t past, bool is_fused) {
  const int64_t least = is_fused ? 65536 : 2048;
  const int64_t pieces = (past + least - 1) / least;
  return (pieces + kMostPastParts - 1) / kMostPastParts * least;
}

/// Every query sees every key, or query t keys 0 .. t; q [T, H, d], k, v [S, G, d].
AttentionPart plain_part(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal) {
  const int64_t T = q.size(0), H = q.size(1), G = k.size(1), d = q.size(2);
  const auto type = sum_type(q);
  const Tensor queries = q.to(type).transpose(0, 1).reshape({G, H / G * T, d});
  const Tensor keys = k.to(type).permute({1, 2, 0}), values = v.to(type).transpose(0, 1);
  Tensor scores = torch::matmul(queries, keys) / std::sqrt(static_cast<double>(d));
  scores = scores.view({G, H / G, T, -1});
  if (is_causal) {
    const Tensor hidden = torch::ones({T, T}, scores.options().dtype(torch::kBool)).triu(1);
    scores.masked_fill_(hidden, -INFINITY);
  }
  const Tensor logsum = scores.logsumexp(-1, true);  // [G, H / G, T, 1]
  const Tensor shares = (scores - logsum).exp_().view({G, H / G * T, -1});
  const Tensor output = torch::matmul(shares, values).view({H, T, d}).transpose(0, 1);
  return {output.to(q.scalar_type()).contiguous(), logsum.view({H, T})};
}

AttentionPart part(const Tensor& q, const Tensor& k, const Tensor& v, bool is_causal) {
  if (!suits_fused_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0))) {
    return plain_part(q, k, v, is_causal);
  }
  const auto heads_first = [](const Tensor& x) { return x.unsqueeze(0).transpose(1, 2); };
  const auto [output, logsum] =
      fused_attention_part(heads_first(q), heads_first(k), heads_first(v), is_causal);
  return {output.transpose(1, 2).squeeze(0).contiguous(),
          logsum.reshape({q.size(1), q.size(0)}).contiguous()};
}

Tensor join_cuda(const std::vector<AttentionPart>& parts) {
  const Tensor& first = parts[0].output;
  const c10::DeviceGuard on_device(first.device());
  const Tensor joined = torch::empty_like(first);
  kernels::cuda::JoinAttentionParams params{.outputs = {},
                                            .logsums = {},
                                            .joined = joined.mutable_data_ptr(),
                                            .parts = static_cast<int64_t>(parts.size()),
                                            .T = first.size(0),
                                            .H = first.size(1),
                                            .d = first.size(2),
                                            .type = kernel_type(first)};
  for (size_t i = 0; i < parts.size(); ++i) {
    params.outputs[i] = parts[i].output.const_data_ptr();
    params.logsums[i] = parts[i].logsum.const_data_ptr<float>();
  }
  throw_unless_ok("join_attention",
                  kernels::device_kernels().join_attention(params, current_stream(first)));
  return joined;
}

void check(const Tensor& q, const Tensor& k, const Tensor& v, const KvPages& cache,
           const Tensor& pages, int64_t past) {
  check_kv_pages("prefill_attention", cache, q);
  const int64_t G = cache.heads(), d = cache.head_size(), P = cache.page_tokens();
  HYPENET_CHECK(q.dim() == 3 && q.size(1) % G == 0 && q.size(2) == d,
                "prefill_attention: expected q [T, H, d] with query heads in whole groups of ", G,
                " key heads of ", d, ", found ", q.sizes());
  check_shape("prefill_attention: k", k, {q.size(0), G, d});
  check_shape("prefill_attention: v", v, {q.size(0), G, d});
  HYPENET_CHECK(pages.dim() == 1 && pages.scalar_type() == torch::kInt64 && past >= 0 &&
                    pages.size(0) * P >= past,
                "prefill_attention: pages: expected int64 pages of ", P, " tokens for ", past,
                " tokens, found ", pages.sizes());
}

}  // namespace

Tensor join_attention(const std::vector<AttentionPart>& parts) {
  HYPENET_CHECK(!parts.empty() && parts.size() <= kernels::cuda::kMostAttentionParts,
                "join_attention: expected 1 to ", kernels::cuda::kMostAttentionParts,
                " parts, found ", parts.size());
  const Tensor& first = parts[0].output;
  if (parts.size() == 1) return first;
  if (suits_cuda_kernels({first}) && first.size(2) % 8 == 0) return join_cuda(parts);
  std::vector<Tensor> logsums, outputs;
  for (const AttentionPart& part : parts) {
    logsums.push_back(part.logsum), outputs.push_back(part.output.to(part.logsum.scalar_type()));
  }
  const Tensor shares = torch::softmax(torch::stack(logsums), 0).transpose(1, 2);  // [n, T, H]
  return (torch::stack(outputs) * shares.unsqueeze(-1)).sum(0).to(first.scalar_type());
}

Tensor prefill_attention(const Tensor& q, const Tensor& k, const Tensor& v, const KvPages& cache,
                         const Tensor& pages, int64_t past) {
  const torch::NoGradGuard no_grad;
  check(q, k, v, cache, pages, past);
  if (past == 0) {
    return causal_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)).squeeze(0);
  }
  const bool is_fused = suits_fused_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0));
  const int64_t P = cache.page_tokens();
  const int64_t piece = (piece_tokens(past, is_fused) + P - 1) / P * P;
  std::vector<AttentionPart> parts;
  for (int64_t begin = 0; begin < past; begin += piece) {
    const int64_t end = std::min(begin + piece, past);
    const KvRows rows =
        cache.read(pages.slice(0, begin / P, (end + P - 1) / P), end - begin, q.scalar_type());
    parts.push_back(part(q, rows.keys, rows.values, false));
  }
  parts.push_back(part(q, k, v, true));
  return join_attention(parts);
}

}  // namespace hypenet
