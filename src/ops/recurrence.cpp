// The checks at the op's door, packed sequences, and the forms that go token by token; the chunked
// form is in recurrence_chunked.cpp.
#include "ops/recurrence.h"

#include <span>

#include "ops/recurrence_forms.h"
#include "ops/slot_states.h"
#include "ops/types.h"

namespace hypenet {
namespace {

// From here on the chunked form costs less than one state update a token.
constexpr int64_t kRecurrentTokens = 4;

void check_offsets(const Recurrence& input) {
  const Tensor& offsets = input.offsets;
  HYPENET_CHECK(input.q.size(0) == 1, "recurrence: expected B = 1 with offsets, found ",
                input.q.size(0));
  HYPENET_CHECK(
      offsets.dim() == 1 && offsets.size(0) >= 2 &&
          (offsets.scalar_type() == torch::kInt32 || offsets.scalar_type() == torch::kInt64),
      "recurrence: offsets: expected int32 or int64 [N + 1], found ", offsets.scalar_type(), " ",
      offsets.sizes());
}

void check_device(const char* place, const Tensor& x, const Tensor& q) {
  HYPENET_CHECK(!x.defined() || x.device() == q.device(), place, ": expected device ", q.device(),
                ", found ", x.device());
}

void check_states(const Recurrence& input, int64_t count) {
  const Tensor &q = input.q, &state = input.state;
  check_shape("recurrence: state", state, {count, q.size(2), q.size(3), input.v.size(3)});
  HYPENET_CHECK(state.scalar_type() == sum_type(q), "recurrence: state: expected type ",
                sum_type(q), ", found ", state.scalar_type());
  check_device("recurrence: state", state, q);
}

/// Of a step whose rows may share states; on a GPU nobody looks at the numbers.
void check_slots(const Recurrence& input, const Tensor& slots) {
  check_shape("recurrence_step: slots", slots, {input.q.size(0)});
  HYPENET_CHECK(slots.scalar_type() == torch::kInt32 && slots.is_contiguous(),
                "recurrence_step: slots: expected contiguous Int, found ", slots.scalar_type());
  check_device("recurrence_step: slots", slots, input.q);
  if (!slots.is_cpu()) return;
  const std::span numbers(slots.const_data_ptr<int32_t>(), static_cast<size_t>(slots.numel()));
  for (const int32_t slot : numbers) {
    HYPENET_CHECK(slot < input.state.size(0), "recurrence_step: slots: expected less than ",
                  input.state.size(0), ", found ", slot);
  }
}

/// Tokens (dimension 1) or rows (dimension 0) begin .. begin + count - 1, without states.
Recurrence part_of(const Recurrence& input, int64_t dimension, int64_t begin, int64_t count) {
  Recurrence part = input;
  part.offsets = part.state = Tensor();
  for (Tensor* x : {&part.q, &part.k, &part.v, &part.decay, &part.beta}) {
    if (x->defined() && x->dim() > 1) *x = x->narrow(dimension, begin, count);
  }
  return part;
}

Tensor initial_state(const Recurrence& input) {
  if (input.state.defined()) return input.state;
  return torch::zeros({input.q.size(0), input.q.size(2), input.q.size(3), input.v.size(3)},
                      input.q.options().dtype(sum_type(input.q)));
}

/// Each row with the state that the one before may have left.
Tensor step_in_order(const Recurrence& input, const Tensor& slots) {
  const int64_t B = input.q.size(0);
  const Tensor output = torch::zeros_like(input.v);
  for (int64_t n = 0; n < B; ++n) {
    const int32_t slot = slots.const_data_ptr<int32_t>()[n];
    if (slot < 0) continue;
    Recurrence row = part_of(input, 0, n, 1);
    row.state = input.state.narrow(0, slot, 1);
    const RecurrenceOutput out = recurrence_recurrent(row);
    row.state.copy_(out.state);
    output[n].copy_(out.output[0]);
  }
  return output;
}

/// Each slot once.
Tensor step_at_once(const Recurrence& input, const Tensor& slots) {
  Recurrence rows = input;
  rows.state = take_states(input.state, slots);
  const RecurrenceOutput out = recurrence_recurrent(rows);
  put_states(input.state, slots, out.state);
  return out.output.masked_fill((slots < 0).view({-1, 1, 1, 1}), 0);
}

}  // namespace

bool wants_gradient(const Recurrence& input) {
  const auto tensors = {input.q, input.k, input.v, input.decay, input.beta, input.state};
  return torch::GradMode::is_enabled() && std::ranges::any_of(tensors, [](const Tensor& x) {
           return x.defined() && x.requires_grad();
         });
}

void check_recurrence(const Recurrence& input) {
  const Tensor &q = input.q, &k = input.k, &v = input.v, &decay = input.decay;
  HYPENET_CHECK(q.dim() == 4 && q.size(1) >= 1,
                "recurrence: q: expected [B, T, H, d] with T >= 1, found ", q.sizes());
  HYPENET_CHECK(q.is_floating_point(), "recurrence: q: expected a floating type, found ",
                q.scalar_type());
  const int64_t B = q.size(0), T = q.size(1), H = q.size(2), dk = q.size(3);
  const int64_t dv = v.defined() && v.dim() == 4 ? v.size(3) : dk;
  check_shape("recurrence: k", k, q.sizes());
  check_shape("recurrence: v", v, {B, T, H, dv});
  check_alike("recurrence: k", k, q);
  check_alike("recurrence: v", v, q);
  const int64_t kind = decay.defined() ? std::min<int64_t>(decay.dim(), 4) : 1;
  check_shape("recurrence: decay", decay,
              kind >= 3 ? q.sizes().slice(0, kind) : q.sizes().slice(2, 1));
  check_device("recurrence: decay", decay, q);
  if (input.beta.defined()) check_shape("recurrence: beta", input.beta, {B, T, H});
  check_device("recurrence: beta", input.beta, q);
  HYPENET_CHECK(input.chunk >= 1, "recurrence: expected chunk >= 1, found ", input.chunk);
  if (input.offsets.defined()) check_offsets(input);
  check_device("recurrence: offsets", input.offsets, q);
  if (!input.state.defined()) return;
  check_states(input, input.offsets.defined() ? input.offsets.size(0) - 1 : B);
}

Tensor decay_of_tokens(const Recurrence& input) {
  const Tensor decay = input.decay.to(sum_type(input.q));
  if (decay.dim() == 1) return decay.view({1, 1, -1, 1});
  return decay.dim() == 3 ? decay.unsqueeze(-1) : decay;
}

RecurrenceOutput by_sequence(const Recurrence& input, RecurrenceOutput (*form)(const Recurrence&)) {
  const Tensor offsets = input.offsets.to(torch::kCPU, torch::kInt64);
  const auto* const at = offsets.const_data_ptr<int64_t>();
  const int64_t N = offsets.numel() - 1;
  HYPENET_CHECK(at[0] == 0 && at[N] == input.q.size(1), "recurrence: offsets: expected 0 .. ",
                input.q.size(1), ", found ", at[0], " .. ", at[N]);
  std::vector<Tensor> outputs, states;
  for (int64_t n = 0; n < N; ++n) {
    const int64_t tokens = at[n + 1] - at[n];
    HYPENET_CHECK(tokens >= 0, "recurrence: offsets: expected no decrease, found ", at[n], ", ",
                  at[n + 1]);
    Recurrence part = part_of(input, 1, at[n], tokens);
    if (input.state.defined()) part.state = input.state.narrow(0, n, 1);
    if (tokens == 0) {
      states.push_back(initial_state(part));
      continue;
    }
    const RecurrenceOutput out = form(part);
    outputs.push_back(out.output);
    states.push_back(out.state);
  }
  return {torch::cat(outputs, 1), input.needs_state ? torch::cat(states, 0) : Tensor()};
}

RecurrenceOutput recurrence_recurrent(const Recurrence& input) {
  check_recurrence(input);
  if (input.offsets.defined()) return by_sequence(input, recurrence_recurrent);
  const torch::NoGradGuard no_grad;
  Tensor state = input.state.defined() ? input.state.clone(torch::MemoryFormat::Contiguous)
                                       : initial_state(input);
  if (suits_recurrence_tokens_cpu(input)) return {recurrence_tokens_cpu(input, state, {}), state};
  const torch::ScalarType type = sum_type(input.q);
  const int64_t B = input.q.size(0), T = input.q.size(1), H = input.q.size(2);
  const Tensor kept = decay_of_tokens(input).neg().exp_().expand({B, T, H, -1});
  const Tensor q = input.q.to(type) * input.scale, k = input.k.to(type), v = input.v.to(type);
  const Tensor beta = input.beta.defined() ? input.beta.to(type) : Tensor();
  Tensor output = torch::empty({B, T, H, v.size(3)}, q.options());
  for (int64_t t = 0; t < T; ++t) {
    const Tensor key = k.select(1, t).unsqueeze(-1);  // [B, H, dk, 1]
    Tensor value = v.select(1, t).unsqueeze(-2);      // [B, H, 1, dv]
    state.mul_(kept.select(1, t).unsqueeze(-1));
    if (input.is_delta) value = value - torch::matmul(key.transpose(2, 3), state);
    if (beta.defined()) value = value * beta.select(1, t).view({B, H, 1, 1});
    state.addcmul_(key, value);
    output.select(1, t).copy_(torch::matmul(q.select(1, t).unsqueeze(-2), state).squeeze(-2));
  }
  return {output.to(input.q.scalar_type()), state};
}

Tensor recurrence_step(const Recurrence& input, const Tensor& slots) {
  const torch::NoGradGuard no_grad;
  HYPENET_CHECK(input.q.dim() == 4 && input.q.size(1) == 1 && input.state.defined(),
                "recurrence_step: expected one token a row and their states, found q ",
                input.q.sizes());
  Recurrence rows = input;
  rows.state = Tensor();
  check_recurrence(rows);
  check_states(input, slots.defined() ? input.state.size(0) : input.q.size(0));
  if (slots.defined()) check_slots(input, slots);
  if (suits_recurrence_tokens_cpu(input) && input.state.is_contiguous()) {
    return recurrence_tokens_cpu(input, input.state, slots);
  }
  if (suits_token_decay_step(input)) return token_decay_step_cuda(input, slots);
  if (slots.defined()) {
    return slots.is_cpu() ? step_in_order(input, slots) : step_at_once(input, slots);
  }
  const RecurrenceOutput out = recurrence_recurrent(input);
  input.state.copy_(out.state);
  return out.output;
}

RecurrenceOutput recurrence(const Recurrence& input) {
  const bool few =
      input.q.dim() == 4 && input.q.size(1) <= kRecurrentTokens && !input.offsets.defined();
  if (!few || wants_gradient(input)) return recurrence_chunked(input);
  check_recurrence(input);
  if (suits_delta_rule_cuda(input)) return delta_rule_cuda(input);
  const bool has_kernels = !has_constant_decay(input) && suits_token_decay_cuda(input);
  return has_kernels ? token_decay_cuda(input) : recurrence_recurrent(input);
}

}  // namespace hypenet
