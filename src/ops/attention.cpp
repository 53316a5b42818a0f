// Whole unpadded sequences go to the CPU's own kernels or a GPU's fused ones, everything else to
// libtorch with a mask where it is needed.
#include "ops/attention.h"

#include <cmath>

#include "ops/attention_forms.h"
#include "ops/form.h"
#include "ops/types.h"

namespace hypenet {
namespace {

/// What each query may see, bool [B or 1, 1, T, S]. Queries before the first key see themselves, so
/// that no softmax is empty; their results are thrown away.
Tensor visible_keys(int64_t T, int64_t S, const Tensor& first_key, torch::Device device) {
  const Tensor keys = torch::arange(S, torch::TensorOptions(torch::kInt64).device(device));
  const Tensor queries = keys.narrow(0, S - T, T).unsqueeze(1);  // [T, 1]
  const Tensor causal = keys <= queries;                         // [T, S]
  if (!first_key.defined()) return causal.view({1, 1, T, S});
  const Tensor filled = (keys >= first_key.view({-1, 1, 1})).logical_or(keys == queries);
  return filled.logical_and(causal).unsqueeze(1);
}

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key) {
  HYPENET_CHECK(q.dim() == 4 && k.dim() == 4,
                "attention: expected q [B, T, H, d] and k [B, S, G, d], found ", q.sizes(), " and ",
                k.sizes());
  const int64_t B = q.size(0), T = q.size(1), H = q.size(2), d = q.size(3);
  const int64_t S = k.size(1), G = k.size(2);
  check_shape("attention: k", k, {B, S, G, d});
  check_shape("attention: v", v, {B, S, G, d});
  check_alike("attention: k", k, q);
  check_alike("attention: v", v, q);
  HYPENET_CHECK(T >= 1 && S >= T, "attention: expected at least as many keys as queries, found ", S,
                " keys and ", T, " queries");
  HYPENET_CHECK(G > 0 && H % G == 0,
                "attention: expected query heads to be a multiple of key/value heads, found ", H,
                " and ", G);
  if (first_key.defined()) check_shape("attention: first_key", first_key, {B});
}

/// While it lives, libtorch's own choice leaves cuDNN out: a new mask is a new shape at each
/// decoded token, for which cuDNN would plan anew.
class WithoutCudnn {
 public:
  explicit WithoutCudnn(bool applies)
      : before_(at::globalContext().userEnabledCuDNNSDP()), applies_(applies) {
    if (applies_) at::globalContext().setSDPUseCuDNN(false);
  }
  ~WithoutCudnn() {
    if (applies_) at::globalContext().setSDPUseCuDNN(before_);
  }
  WithoutCudnn(const WithoutCudnn&) = delete;
  WithoutCudnn& operator=(const WithoutCudnn&) = delete;

 private:
  bool before_, applies_;
};

}  // namespace

Form form_of_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key) {
  if (first_key.defined()) return Form::kComposed;
  if (suits_fused_attention(q, k, v)) return Form::kDevice;
  const bool is_whole = q.size(1) == k.size(1) && q.size(1) > 1;
  return is_whole && q.size(3) % 16 == 0 && suits_cpu_kernels({q, k, v}) ? Form::kCpu
                                                                         : Form::kComposed;
}

Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& first_key,
                        AttentionBackend backend) {
  check_attention(q, k, v, first_key);
  const Form form = form_of_attention(q, k, v, first_key);
  if (form == Form::kCpu) return attention_cpu(q, k, v);
  if (form == Form::kDevice) return fused_attention(q, k, v, backend);
  const int64_t T = q.size(1), S = k.size(1);
  const bool padded = first_key.defined();
  std::optional<Tensor> mask;
  const WithoutCudnn without_cudnn(q.is_cuda());
  if (padded || (T > 1 && T < S)) mask = visible_keys(T, S, first_key, q.device());
  // With a mask libtorch groups heads only in the form that holds all scores in memory.
  const int64_t group = q.size(2) / k.size(2);
  const int64_t copies = mask ? group : 1;
  const auto heads = [copies](const Tensor& x) {
    return (copies > 1 ? x.repeat_interleave(copies, 2) : x).transpose(1, 2);
  };
  const Tensor out =
      at::scaled_dot_product_attention(q.transpose(1, 2), heads(k), heads(v), mask, 0.0,
                                       !mask && T > 1, std::nullopt, group > copies)
          .transpose(1, 2);  // [B, T, H, d]
  if (!padded) return out;
  const Tensor queries = torch::arange(S - T, S, first_key.options());
  return out.masked_fill((queries < first_key.unsqueeze(1)).view({-1, T, 1, 1}), 0);
}

Tensor log_position_scale(const Tensor& positions, double a) {
  HYPENET_CHECK(a > 1, "log_position_scale: expected a > 1, found ", a);
  // float64: near a million, float32 positions have no room left for a fraction of a.
  return (positions.to(torch::kFloat64) + a).log_().div_(std::log(a)).to(torch::kFloat32);
}

}  // namespace hypenet
