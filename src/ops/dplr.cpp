// Within a chunk the rows that a reads, Y = a S, depend on each other: a triangular system, solved
// for all chunks at once for what was written (Y of v) and for the state at the chunk's start.
#include "ops/dplr.h"

#include "ops/chunks.h"
#include "ops/dplr_forms.h"
#include "ops/form.h"
#include "ops/gradient.h"
#include "ops/slot_states.h"
#include "ops/types.h"

namespace hypenet {
namespace {

// From here on the chunked form costs less than one state update a token.
constexpr int64_t kRecurrentTokens = 4;

void check_input(const DplrRecurrence& in, int64_t states) {
  const Tensor& r = in.r;
  HYPENET_CHECK(r.dim() == 4 && r.size(1) >= 1,
                "dplr: r: expected [B, T, H, d] with T >= 1, found ", r.sizes());
  HYPENET_CHECK(in.v.dim() == 4, "dplr: v: expected [B, T, H, d], found ", in.v.sizes());
  HYPENET_CHECK(in.chunk >= 1, "dplr: expected chunk >= 1, found ", in.chunk);
  check_shape("dplr: k", in.k, r.sizes());
  check_shape("dplr: a", in.a, r.sizes());
  check_shape("dplr: b", in.b, r.sizes());
  check_shape("dplr: decay", in.decay, r.sizes());
  check_shape("dplr: v", in.v, {r.size(0), r.size(1), r.size(2), in.v.size(3)});
  if (!in.state.defined()) return;
  check_shape("dplr: state", in.state, {states, r.size(2), r.size(3), in.v.size(3)});
}

Tensor initial_state(const DplrRecurrence& in) {
  if (in.state.defined()) return in.state;
  return torch::zeros({in.r.size(0), in.r.size(2), in.r.size(3), in.v.size(3)},
                      in.r.options().dtype(sum_type(in.r)));
}

/// x y^T, without what is above the diagonal, or on it too: [.., C, C].
Tensor scores(const Tensor& x, const Tensor& y, int64_t diagonal) {
  return torch::matmul(x, y.transpose(-1, -2)).tril(diagonal);
}

}  // namespace

RecurrenceOutput dplr_chunked(const DplrRecurrence& in) {
  check_input(in, in.r.size(0));
  const int64_t T = in.r.size(1), C = std::min(in.chunk, T);
  const torch::ScalarType type = sum_type(in.r);
  const auto chunks = [&](const Tensor& x) { return in_chunks(x, C, type); };  // [B, H, N, C, ..]
  const Tensor decay = chunks(in.decay), v = chunks(in.v);
  const Tensor G = -decay.cumsum(3), last = G.narrow(3, C - 1, 1);
  const Tensor r = chunks(in.r) * G.exp(), a = chunks(in.a) * (G + decay).exp();
  const Tensor grown = (-G).exp();  // at most exp(decay C)
  const Tensor k = chunks(in.k) * grown, b = chunks(in.b) * grown;
  const Tensor solved = at::linalg_solve_triangular(
      -scores(a, b, -1), torch::cat({torch::matmul(scores(a, k, -1), v), a}, -1),
      /*upper=*/false, /*left=*/true, /*unitriangular=*/true);
  const Tensor read = solved.narrow(-1, 0, v.size(-1));             // Y of a zero state
  const Tensor reader = solved.narrow(-1, v.size(-1), a.size(-1));  // and of the state
  const Tensor of_b = scores(r, b, 0), kept = last.exp();
  const Tensor left_k = (k * kept).transpose(3, 4), left_b = (b * kept).transpose(3, 4);
  const Tensor added = torch::matmul(left_k, v) + torch::matmul(left_b, read);
  const Tensor across = torch::diag_embed(kept.squeeze(3)) + torch::matmul(left_b, reader);
  Tensor state = initial_state(in);
  std::vector<Tensor> before;
  for (int64_t n = 0; n < added.size(2); ++n) {
    before.push_back(state);
    state = torch::matmul(across.select(2, n), state) + added.select(2, n);
  }
  const Tensor o = torch::matmul(scores(r, k, 0), v) + torch::matmul(of_b, read) +
                   torch::matmul(r + torch::matmul(of_b, reader), torch::stack(before, 2));
  const Tensor output = o.flatten(2, 3).narrow(2, 0, T).transpose(1, 2);
  return {output.to(in.r.scalar_type()), state};
}

RecurrenceOutput dplr_recurrent(const DplrRecurrence& in) {
  check_input(in, in.r.size(0));
  const torch::NoGradGuard no_grad;
  const torch::ScalarType type = sum_type(in.r);
  Tensor state = initial_state(in).clone(torch::MemoryFormat::Contiguous);
  std::vector<Tensor> outputs;
  for (int64_t t = 0; t < in.r.size(1); ++t) {
    const auto row = [&](const Tensor& x) { return x.select(1, t).to(type).unsqueeze(-2); };
    const auto column = [&](const Tensor& x) { return row(x).transpose(-1, -2); };
    const Tensor read = torch::matmul(row(in.a), state);  // [B, H, 1, dv]
    state.mul_(column(in.decay).neg().exp());
    state.addcmul_(column(in.b), read);
    state.addcmul_(column(in.k), row(in.v));
    outputs.push_back(torch::matmul(row(in.r), state).squeeze(-2));
  }
  return {torch::stack(outputs, 1).to(in.r.scalar_type()), state};
}

Form form_of(const DplrRecurrence& in) {
  check_input(in, in.r.size(0));
  return suits_dplr_cuda(in) ? Form::kDevice : Form::kComposed;
}

RecurrenceOutput dplr_recurrence(const DplrRecurrence& in) {
  if (form_of(in) == Form::kDevice) return dplr_cuda(in);
  const bool is_few = in.r.dim() == 4 && in.r.size(1) <= kRecurrentTokens;
  const bool wants_graph = needs_gradient({in.r, in.k, in.a, in.b, in.v, in.decay, in.state});
  return is_few && !wants_graph ? dplr_recurrent(in) : dplr_chunked(in);
}

Tensor dplr_step(const DplrRecurrence& in, const Tensor& slots) {
  HYPENET_CHECK(in.r.dim() == 4 && in.r.size(1) == 1 && in.state.defined(),
                "dplr_step: expected one token a row and their states, found r ", in.r.sizes());
  check_input(in, in.state.size(0));
  check_shape("dplr_step: slots", slots, {in.r.size(0)});
  return step_rows(slots, {in.v, in.r, in.k, in.a, in.b, in.decay}, {in.state},
                   [](const std::vector<Tensor>& x, const std::vector<Tensor>& states) {
                     const RecurrenceOutput out = dplr_recurrent({.r = x[1],
                                                                  .k = x[2],
                                                                  .a = x[3],
                                                                  .b = x[4],
                                                                  .v = x[0],
                                                                  .decay = x[5],
                                                                  .state = states[0]});
                     return SteppedRows{out.output, {out.state}};
                   });
}

}  // namespace hypenet
