// The kernels as an op: where each head lies, the two passes, and the states that forward keeps
// for backward.
#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include "kernels/recurrence.h"
#include "ops/recurrence_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kGrain = int64_t{1} << 16;  // elements of states a thread at least

const float* data_or_null(const Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

/// Where head `h` of row `b` lies in tensors [B, T, H, d], states [B, H, d, d] and starts [B, H, N,
/// d, d].
struct Heads {
  explicit Heads(const Tensor& q) : B(q.size(0)), T(q.size(1)), H(q.size(2)), d(q.size(3)) {
    N = (T + kernels::kRecurrenceChunk - 1) / kernels::kRecurrenceChunk;
  }
  int64_t tokens_at(int64_t head) const { return head / H * T * H * d + head % H * d; }
  int64_t state_at(int64_t head) const { return head * d * d; }
  int64_t starts_at(int64_t head) const { return head * N * d * d; }

  /// Calls work(head, scratch) for each of the B H heads.
  template <class Work>
  void for_each(const Work& work) const {
    at::parallel_for(0, B * H, 1, [&](int64_t begin, int64_t end) {
      const Tensor scratch = torch::empty({kernels::recurrence_scratch(d)});
      for (int64_t head = begin; head < end; ++head) work(head, scratch.data_ptr<float>());
    });
  }

  int64_t B, T, H, d, N;
};

template <class T>
T* offset(T* base, int64_t by) {
  return base == nullptr ? nullptr : base + by;
}

struct RecurrenceCpuFunction : torch::autograd::Function<RecurrenceCpuFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& given_q,
                               const Tensor& given_k, const Tensor& given_v,
                               const Tensor& given_initial, const Tensor& given_decay, double scale,
                               bool needs_state) {
    context->set_materialize_grads(false);
    const Tensor q = given_q.contiguous(), k = given_k.contiguous(), v = given_v.contiguous();
    const Heads heads(q);
    const bool has_initial = given_initial.numel() > 0;
    const Tensor initial = has_initial ? given_initial.contiguous() : Tensor();
    const Tensor decay = given_decay.to(torch::kFloat64);
    const Tensor output = torch::empty_like(q);
    const Tensor starts = torch::empty({heads.B, heads.H, heads.N, heads.d, heads.d}, q.options());
    const Tensor final_state = needs_state
                                   ? torch::empty({heads.B, heads.H, heads.d, heads.d}, q.options())
                                   : torch::empty({0}, q.options());
    float* const last = needs_state ? final_state.data_ptr<float>() : nullptr;
    heads.for_each([&](int64_t head, float* scratch) {
      const int64_t at = heads.tokens_at(head), state = heads.state_at(head);
      kernels::recurrence_forward({.q = q.const_data_ptr<float>() + at,
                                   .k = k.const_data_ptr<float>() + at,
                                   .v = v.const_data_ptr<float>() + at,
                                   .output = output.data_ptr<float>() + at,
                                   .initial = offset(data_or_null(initial), state),
                                   .final_state = offset(last, state),
                                   .starts = starts.data_ptr<float>() + heads.starts_at(head),
                                   .tokens = heads.T,
                                   .size = heads.d,
                                   .token = heads.H * heads.d,
                                   .decay = decay.const_data_ptr<double>()[head % heads.H],
                                   .scale = scale},
                                  scratch);
    });
    context->save_for_backward({q, k, v, decay, starts});
    context->saved_data["scale"] = scale;
    context->saved_data["has_initial"] = has_initial;
    return {output, final_state};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &decay = saved[3];
    const Heads heads(q);
    const Tensor doutput =
        gradients[0].defined() ? gradients[0].contiguous() : torch::zeros_like(q);
    const Tensor dfinal = gradients[1].defined() ? gradients[1].contiguous() : Tensor();
    const Tensor dq = torch::empty_like(q), dk = torch::empty_like(q), dv = torch::empty_like(q);
    Tensor dinitial;
    if (context->needs_input_grad(3)) {
      dinitial = torch::empty({heads.B, heads.H, heads.d, heads.d}, q.options());
    }
    float* const first = dinitial.defined() ? dinitial.data_ptr<float>() : nullptr;
    heads.for_each([&](int64_t head, float* scratch) {
      const int64_t at = heads.tokens_at(head), state = heads.state_at(head);
      kernels::recurrence_backward(
          {.q = q.const_data_ptr<float>() + at,
           .k = k.const_data_ptr<float>() + at,
           .v = v.const_data_ptr<float>() + at,
           .doutput = doutput.const_data_ptr<float>() + at,
           .starts = saved[4].const_data_ptr<float>() + heads.starts_at(head),
           .dfinal = offset(data_or_null(dfinal), state),
           .has_initial = context->saved_data["has_initial"].toBool(),
           .dq = dq.data_ptr<float>() + at,
           .dk = dk.data_ptr<float>() + at,
           .dv = dv.data_ptr<float>() + at,
           .dinitial = offset(first, state),
           .tokens = heads.T,
           .size = heads.d,
           .token = heads.H * heads.d,
           .decay = decay.const_data_ptr<double>()[head % heads.H],
           .scale = context->saved_data["scale"].toDouble()},
          scratch);
    });
    return {dq, dk, dv, dinitial, {}, {}, {}};
  }
};

}  // namespace

bool suits_recurrence_cpu(const Recurrence& input) {
  return suits_cpu_kernels({input.q}) && input.q.size(3) % 16 == 0;
}

RecurrenceOutput recurrence_cpu(const Recurrence& input) {
  const Tensor initial = input.state.defined() ? input.state : torch::empty({0}, input.q.options());
  const variable_list outputs = RecurrenceCpuFunction::apply(
      input.q, input.k, input.v, initial, input.decay, input.scale, input.needs_state);
  return {outputs[0], input.needs_state ? outputs[1] : Tensor()};
}

bool suits_recurrence_tokens_cpu(const Recurrence& input) {
  return suits_cpu_kernels({input.q}) && input.v.size(3) % 4 == 0 && !has_constant_decay(input);
}

Tensor recurrence_tokens_cpu(const Recurrence& input, const Tensor& states, const Tensor& slots) {
  const int64_t B = input.q.size(0), T = input.q.size(1), H = input.q.size(2);
  const int64_t dk = input.q.size(3), dv = input.v.size(3);
  const Tensor q = input.q.contiguous(), k = input.k.contiguous(), v = input.v.contiguous();
  const Tensor decay = decay_of_tokens(input).expand({B, T, H, -1}).contiguous();
  const Tensor beta = input.beta.defined() ? input.beta.to(torch::kFloat32).contiguous() : Tensor();
  const Tensor output = torch::empty_like(v);
  if (output.numel() == 0) return output;
  const int64_t rows = slots.defined() ? B : T;  // that follow each other; of a slot all may
  const int64_t grain = kGrain / (rows * dk * dv + 1) + 1;
  at::parallel_for(0, B * T / rows * H, grain, [&](int64_t begin, int64_t end) {
    const Tensor scratch = torch::empty({2 + kernels::kRecurrenceColumns, dk});
    for (int64_t i = begin; i < end; ++i) {
      kernels::recurrence_tokens(
          {.q = q.const_data_ptr<float>(),
           .k = k.const_data_ptr<float>(),
           .v = v.const_data_ptr<float>(),
           .decay = decay.const_data_ptr<float>(),
           .beta = data_or_null(beta),
           .slots = slots.defined() ? slots.const_data_ptr<int32_t>() : nullptr,
           .states = states.data_ptr<float>(),
           .output = output.data_ptr<float>(),
           .first_row = i / H * rows,
           .rows = rows,
           .heads = H,
           .key_size = dk,
           .value_size = dv,
           .decay_size = decay.size(3),
           .is_delta = input.is_delta,
           .scale = static_cast<float>(input.scale)},
          i % H, scratch.data_ptr<float>());
    }
  });
  return output;
}

}  // namespace hypenet
