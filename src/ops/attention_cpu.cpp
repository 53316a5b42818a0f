// The kernels as an op: where each group of heads lies, and the two passes.
#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <cmath>

#include "kernels/attention.h"
#include "ops/attention_forms.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Where the group that key/value head `g` of row `b` serves lies in [B, T, H, d], [B, T, G, d] and
/// [B, H, T].
struct Groups {
  Groups(const Tensor& q, const Tensor& k)
      : B(q.size(0)), T(q.size(1)), H(q.size(2)), G(k.size(2)), d(q.size(3)) {}
  int64_t queries_at(int64_t group) const {
    return group / G * T * H * d + group % G * (H / G) * d;
  }
  int64_t keys_at(int64_t group) const { return group / G * T * G * d + group % G * d; }
  int64_t sums_at(int64_t group) const { return group * (H / G) * T; }

  /// Calls work(group, scratch) for each of the B G groups.
  template <class Work>
  void for_each(const Work& work) const {
    at::parallel_for(0, B * G, 1, [&](int64_t begin, int64_t end) {
      const Tensor scratch = torch::empty({kernels::attention_scratch(T, d)});
      for (int64_t group = begin; group < end; ++group) work(group, scratch.data_ptr<float>());
    });
  }

  int64_t B, T, H, G, d;
};

float scale_of(int64_t size) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
}

struct AttentionCpuFunction : torch::autograd::Function<AttentionCpuFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& given_q, const Tensor& given_k,
                        const Tensor& given_v) {
    const Tensor q = given_q.contiguous(), k = given_k.contiguous(), v = given_v.contiguous();
    const Groups groups(q, k);
    const Tensor output = torch::empty_like(q);
    const Tensor log_sums = torch::empty({groups.B, groups.H, groups.T}, q.options());
    groups.for_each([&](int64_t group, float* scratch) {
      const int64_t queries = groups.queries_at(group), keys = groups.keys_at(group);
      kernels::attention_forward({.q = q.const_data_ptr<float>() + queries,
                                  .k = k.const_data_ptr<float>() + keys,
                                  .v = v.const_data_ptr<float>() + keys,
                                  .output = output.data_ptr<float>() + queries,
                                  .log_sums = log_sums.data_ptr<float>() + groups.sums_at(group),
                                  .tokens = groups.T,
                                  .size = groups.d,
                                  .group = groups.H / groups.G,
                                  .query_token = groups.H * groups.d,
                                  .key_token = groups.G * groups.d,
                                  .scale = scale_of(groups.d)},
                                 scratch);
    });
    context->save_for_backward({q, k, v, log_sums});
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &log_sums = saved[3];
    const Groups groups(q, k);
    const Tensor doutput = gradients[0].contiguous();
    const Tensor dq = torch::empty_like(q), dk = torch::empty_like(k), dv = torch::empty_like(v);
    groups.for_each([&](int64_t group, float* scratch) {
      const int64_t queries = groups.queries_at(group), keys = groups.keys_at(group);
      kernels::attention_backward(
          {.q = q.const_data_ptr<float>() + queries,
           .k = k.const_data_ptr<float>() + keys,
           .v = v.const_data_ptr<float>() + keys,
           .doutput = doutput.const_data_ptr<float>() + queries,
           .log_sums = log_sums.const_data_ptr<float>() + groups.sums_at(group),
           .dq = dq.data_ptr<float>() + queries,
           .dk = dk.data_ptr<float>() + keys,
           .dv = dv.data_ptr<float>() + keys,
           .tokens = groups.T,
           .size = groups.d,
           .group = groups.H / groups.G,
           .query_token = groups.H * groups.d,
           .key_token = groups.G * groups.d,
           .scale = scale_of(groups.d)},
          scratch);
    });
    return {dq, dk, dv};
  }
};

}  // namespace

Tensor attention_cpu(const Tensor& q, const Tensor& k, const Tensor& v) {
  return AttentionCpuFunction::apply(q, k, v);
}

}  // namespace hypenet
