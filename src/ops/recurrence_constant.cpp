// The chunked form of a constant decay per head and its gradient, by batched products over all
// chunks and a short scan over their states. Every power of gamma = exp(-decay) that appears is
// non-negative: gamma^(-j) overflows for fast heads.
#include <torch/autograd.h>

#include "ops/recurrence_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The sizes of one call: T tokens in N chunks of C, the last one of `last` tokens.
struct Chunks {
  Chunks(const Tensor& q, int64_t chunk)
      : B(q.size(0)), T(q.size(1)), H(q.size(2)), type(sum_type(q)) {
    C = std::min(chunk, T);
    N = (T + C - 1) / C;
    last = T - (N - 1) * C;
  }

  /// [B, T, H, d] -> [B H N, C, d], with zeros after the last token.
  Tensor split(const Tensor& x) const {
    Tensor wide = x.transpose(1, 2).to(type);
    if (last < C) wide = at::constant_pad_nd(wide, {0, 0, 0, C - last});
    return wide.reshape({B * H * N, C, x.size(3)});
  }

  /// The inverse of split, in the type of `like`.
  Tensor join(const Tensor& x, const Tensor& like) const {
    const Tensor joined = x.view({B, H, N * C, x.size(2)}).narrow(2, 0, T).transpose(1, 2);
    return joined.to(like.scalar_type());
  }

  /// x [B H N, C, d] times powers [H, N or 1, C, 1].
  Tensor weighted(const Tensor& x, const Tensor& powers) const {
    return (x.view({B, H, N, C, x.size(2)}) * powers).view_as(x);
  }

  int64_t B, T, H, C, N, last;
  torch::ScalarType type;
};

/// Powers of gamma = exp(-decay) inside a chunk; the scale of q is in those that q meets.
struct Powers {
  Powers(const Chunks& s, const Tensor& decay, double scale) {
    const Tensor log_gamma = decay.to(s.type).neg().view({s.H, 1, 1});
    const Tensor time = torch::arange(s.C, log_gamma.options());
    const Tensor lag = (time.unsqueeze(1) - time).clamp_min_(0);
    within = (log_gamma * lag).exp_().mul_(scale).tril_().unsqueeze(1);
    from_start = (log_gamma * (time + 1).unsqueeze(1)).exp_().mul_(scale).unsqueeze(1);
    const Tensor full = (log_gamma * (s.C - 1 - time).unsqueeze(1)).exp_().unsqueeze(1);
    const Tensor whole = (log_gamma * s.C).exp_().unsqueeze(1).expand({s.H, s.N, 1, 1});
    to_end = full, across = whole;
    if (s.last == s.C) return;
    const Tensor cut =
        (log_gamma * (s.last - 1 - time).clamp_min_(0).unsqueeze(1)).exp_().unsqueeze(1);
    to_end = torch::cat({full.expand({s.H, s.N - 1, s.C, 1}), cut}, 1);
    across = torch::cat({whole.narrow(1, 0, s.N - 1), (log_gamma * s.last).exp_().unsqueeze(1)}, 1);
  }

  Tensor within;      // scale gamma^(i - j) for j <= i, else 0: [H, 1, C, C]
  Tensor from_start;  // scale gamma^(i + 1): [H, 1, C, 1]
  Tensor to_end;      // gamma^(n - 1 - j), n tokens in the chunk: [H, N or 1, C, 1]
  Tensor across;      // gamma^n: [H, N, 1, 1]
};

/// (x y^T) * within, [B H N, C, C].
Tensor scores(const Chunks& s, const Powers& powers, const Tensor& x, const Tensor& y) {
  Tensor product = torch::bmm(x, y.transpose(1, 2));
  product.view({s.B, s.H, s.N, s.C, s.C}).mul_(powers.within);
  return product;
}

/// What each chunk adds to states: sum_j x_j^T y_j, [B, H, N, dk, dv].
Tensor own_states(const Chunks& s, const Tensor& x, const Tensor& y) {
  return torch::bmm(x.transpose(1, 2), y).view({s.B, s.H, s.N, x.size(2), y.size(2)});
}

/// The state before each chunk and after the last, [B, H, N + 1, dk, dv].
Tensor scan_states(const Chunks& s, const Powers& powers, const Tensor& k, const Tensor& v,
                   const Tensor& initial) {
  const Tensor own = own_states(s, s.weighted(k, powers.to_end), v);
  Tensor states = torch::empty({s.B, s.H, s.N + 1, k.size(2), v.size(2)}, own.options());
  initial.defined() ? states.select(2, 0).copy_(initial) : states.select(2, 0).zero_();
  for (int64_t n = 0; n < s.N; ++n) {
    Tensor next = states.select(2, n + 1);
    at::addcmul_out(next, own.select(2, n), states.select(2, n), powers.across.select(1, n));
  }
  return states;
}

/// dL/dS after each chunk and (first) of the initial state, [B, H, N + 1, dk, dv]; U of
/// docs/kernels.md, "Lightning attention".
Tensor scan_gradients(const Chunks& s, const Powers& powers, const Tensor& q, const Tensor& doutput,
                      const Tensor& dfinal) {
  const Tensor own = own_states(s, s.weighted(q, powers.from_start), doutput);
  Tensor gradients = torch::empty({s.B, s.H, s.N + 1, q.size(2), doutput.size(2)}, own.options());
  dfinal.defined() ? gradients.select(2, s.N).copy_(dfinal) : gradients.select(2, s.N).zero_();
  for (int64_t n = s.N - 1; n >= 0; --n) {
    Tensor before = gradients.select(2, n);
    at::addcmul_out(before, own.select(2, n), gradients.select(2, n + 1),
                    powers.across.select(1, n));
  }
  return gradients;
}

/// states [B, H, N + 1, dk, dv] -> those from `first` on, one a chunk, [B H N, dk, dv].
Tensor of_chunks(const Chunks& s, const Tensor& states, int64_t first) {
  return states.narrow(2, first, s.N).flatten(0, 2);
}

/// autograd takes no undefined tensors: an absent initial or final state is one without elements.
struct ConstantFunction : torch::autograd::Function<ConstantFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& q, const Tensor& k,
                               const Tensor& v, const Tensor& given, const Tensor& decay,
                               double scale, int64_t chunk, bool needs_state) {
    context->set_materialize_grads(false);
    const Tensor initial = given.numel() > 0 ? given : Tensor();
    const Chunks s(q, chunk);
    const Powers powers(s, decay, scale);
    const Tensor qs = s.split(q), ks = s.split(k), vs = s.split(v);
    Tensor output = torch::bmm(scores(s, powers, qs, ks), vs);
    Tensor states, final_state = torch::empty({0}, output.options());
    if (s.N > 1 || initial.defined() || needs_state) {
      states = scan_states(s, powers, ks, vs, initial);
      final_state = states.select(2, s.N).clone();
      if (s.N > 1 || initial.defined()) {
        output.baddbmm_(s.weighted(qs, powers.from_start), of_chunks(s, states, 0));
      }
    }
    context->save_for_backward({q, k, v, decay, states});
    context->saved_data["scale"] = scale;
    context->saved_data["chunk"] = chunk;
    return {s.join(output, q), final_state};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &states = saved[4];
    const Chunks s(q, context->saved_data["chunk"].toInt());
    const Powers powers(s, saved[3], context->saved_data["scale"].toDouble());
    const Tensor &doutput = gradients[0], &dfinal = gradients[1];
    const Tensor qs = s.split(q), ks = s.split(k), vs = s.split(v);
    const Tensor dos = s.split(doutput.defined() ? doutput : torch::zeros_like(v));
    const Tensor dscores = scores(s, powers, dos, vs);
    Tensor dq = torch::bmm(dscores, ks);
    Tensor dk = torch::bmm(dscores.transpose(1, 2), qs);
    Tensor dv = torch::bmm(scores(s, powers, qs, ks).transpose(1, 2), dos);
    Tensor dinitial;
    if (s.N > 1 || dfinal.defined() || context->needs_input_grad(3)) {
      const Tensor dstates = scan_gradients(s, powers, qs, dos, dfinal);
      const Tensor after = of_chunks(s, dstates, 1);
      if (states.defined()) {
        dq.baddbmm_(s.weighted(dos, powers.from_start), of_chunks(s, states, 0).transpose(1, 2));
      }
      dk += s.weighted(torch::bmm(vs, after.transpose(1, 2)), powers.to_end);
      dv.baddbmm_(s.weighted(ks, powers.to_end), after);
      if (context->needs_input_grad(3)) dinitial = dstates.select(2, 0).clone();
    }
    return {s.join(dq, q), s.join(dk, k), s.join(dv, v), dinitial, {}, {}, {}, {}};
  }
};

}  // namespace

RecurrenceOutput recurrence_constant(const Recurrence& input) {
  const Tensor initial = input.state.defined() ? input.state : torch::empty({0}, input.q.options());
  const variable_list outputs = ConstantFunction::apply(
      input.q, input.k, input.v, initial, input.decay, input.scale, input.chunk, input.needs_state);
  return {outputs[0], input.needs_state ? outputs[1] : Tensor()};
}

}  // namespace hypenet
