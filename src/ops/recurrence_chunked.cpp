// Which chunked form, and the one for decays that vary and for the delta rule: tensor code that
// autograd differentiates. No exponent is positive: exp(-G) overflows, and what is not used is
// masked before it is formed.
#include "ops/chunks.h"
#include "ops/form.h"
#include "ops/recurrence_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

constexpr int64_t kBlock = 16;  // tokens that are compared channel by channel

/// x [.., n, s, d] times y [.., m, d]: [.., n, s, m].
Tensor products(const Tensor& x, const Tensor& y) {
  return torch::matmul(x.flatten(-3, -2), y.transpose(-1, -2)).unflatten(-2, {-1, x.size(-2)});
}

/// sum_c x_ic k_jc exp(G_ic - G_jc) for j <= i, else 0, for s readers x a token:
/// [.., C, s, d] -> [.., C, s, C].
Tensor decayed_products(const Tensor& x, const Tensor& k, const Tensor& G) {
  if (G.size(-1) == 1) return products(x, k) * kept_between(G).squeeze(-1).unsqueeze(-2);
  const int64_t C = k.size(-2);
  std::vector<Tensor> blocks;
  for (int64_t begin = 0; begin < C; begin += kBlock) {
    const int64_t n = std::min(kBlock, C - begin);
    const auto own = [&](const Tensor& y, int64_t dim) { return y.narrow(dim, begin, n); };
    // Keys before the block meet its readers at its first token: both have only faded since.
    const Tensor first = G.narrow(-2, begin, 1), ours = own(G, -2), readers = own(x, -3);
    const Tensor past = products(readers * (ours - first).exp().unsqueeze(-2),
                                 k.narrow(-2, 0, begin) * (first - G.narrow(-2, 0, begin)).exp());
    const Tensor keys = kept_between(ours) * own(k, -2).unsqueeze(-3);  // [.., n, n, d]
    const Tensor within = torch::matmul(readers, keys.transpose(-1, -2));
    blocks.push_back(at::constant_pad_nd(torch::cat({past, within}, -1), {0, C - begin - n}));
  }
  return torch::cat(blocks, -3);
}

/// All of a chunk that needs no state, [B, H, N, ..]: with S at its start, the rows written are
/// U = values - forgotten S, o = within U + queries S, and then S <- across S + keys^T U.
struct Chunks {
  Chunks(const Recurrence& input, int64_t C) {
    const torch::ScalarType type = sum_type(input.q);
    const int64_t B = input.q.size(0), T = input.q.size(1), H = input.q.size(2);
    const Tensor decay = decay_of_tokens(input).expand({B, T, H, -1});
    const Tensor G = -in_chunks(decay, C, type).cumsum(3), last = G.narrow(3, C - 1, 1);
    const Tensor q = in_chunks(input.q, C, type) * input.scale, k = in_chunks(input.k, C, type);
    const Tensor readers = input.is_delta ? torch::stack({q, k}, 4) : q.unsqueeze(4);
    const Tensor scores = decayed_products(readers, k, G);
    within = scores.select(4, 0);
    queries = q * G.exp();
    keys = k * (last - G).exp();
    across = last.exp().transpose(3, 4);
    values = in_chunks(input.v, C, type);
    const Tensor beta =
        input.beta.defined() ? in_chunks(input.beta.unsqueeze(-1), C, type) : Tensor();
    if (beta.defined()) values = values * beta;
    if (!input.is_delta) return;
    forgotten = k * G.exp();
    Tensor unsolved = scores.select(4, 1);  // of which what is below the diagonal is read
    if (beta.defined()) forgotten = forgotten * beta, unsolved = unsolved * beta;
    const Tensor solved =
        at::linalg_solve_triangular(unsolved, torch::cat({values, forgotten}, -1),
                                    /*upper=*/false, /*left=*/true, /*unitriangular=*/true);
    const std::vector<Tensor> parts = solved.split_with_sizes({values.size(-1), k.size(-1)}, -1);
    values = parts[0], forgotten = parts[1];
  }

  Tensor within;         // [B, H, N, C, C], zero above the diagonal
  Tensor queries, keys;  // [B, H, N, C, dk], as they meet the state before and after the chunk
  Tensor values;         // [B, H, N, C, dv]
  Tensor forgotten;      // [B, H, N, C, dk]; undefined without the delta rule
  Tensor across;         // [B, H, N, 1 or dk, 1]
};

/// For decays of every kind, with and without the delta rule; the graph keeps what Chunks holds.
RecurrenceOutput recurrence_varying(const Recurrence& input) {
  const int64_t B = input.q.size(0), T = input.q.size(1), H = input.q.size(2);
  const Chunks chunks(input, std::min(input.chunk, T));
  Tensor state = input.state.defined() ? input.state
                                       : torch::zeros({B, H, input.q.size(3), input.v.size(3)},
                                                      chunks.values.options());
  std::vector<Tensor> outputs;
  for (int64_t n = 0; n < chunks.values.size(2); ++n) {
    const auto own = [n](const Tensor& x) { return x.select(2, n); };
    Tensor values = own(chunks.values);
    if (input.is_delta) values = values - torch::matmul(own(chunks.forgotten), state);
    outputs.push_back(torch::matmul(own(chunks.within), values) +
                      torch::matmul(own(chunks.queries), state));
    state = own(chunks.across) * state + torch::matmul(own(chunks.keys).transpose(2, 3), values);
  }
  const Tensor output = torch::cat(outputs, 2).narrow(2, 0, T).transpose(1, 2);
  return {output.to(input.q.scalar_type()), input.needs_state ? state : Tensor()};
}

}  // namespace

bool has_constant_decay(const Recurrence& input) {
  return input.decay.dim() == 1 && !input.decay.requires_grad() && !input.beta.defined() &&
         !input.is_delta;
}

Form form_of(const Recurrence& input) {
  if (!has_constant_decay(input)) {
    if (suits_delta_rule_cuda(input) || suits_token_decay_cuda(input)) return Form::kDevice;
    const bool is_by_token = suits_recurrence_tokens_cpu(input) && !wants_gradient(input);
    return is_by_token ? Form::kCpu : Form::kComposed;
  }
  if (input.q.sizes() != input.v.sizes()) return Form::kComposed;
  if (suits_lightning_cuda(input)) return Form::kDevice;
  return suits_recurrence_cpu(input) ? Form::kCpu : Form::kComposed;
}

RecurrenceOutput recurrence_chunked(const Recurrence& input) {
  check_recurrence(input);
  const Form form = form_of(input);
  const bool is_constant = has_constant_decay(input);
  if (form == Form::kDevice && is_constant) return lightning_cuda(input);
  if (input.offsets.defined()) return by_sequence(input, recurrence_chunked);
  if (form == Form::kDevice) {
    return input.is_delta ? delta_rule_cuda(input) : token_decay_cuda(input);
  }
  if (is_constant) return form == Form::kCpu ? recurrence_cpu(input) : recurrence_constant(input);
  return form == Form::kCpu ? recurrence_recurrent(input) : recurrence_varying(input);
}

}  // namespace hypenet
